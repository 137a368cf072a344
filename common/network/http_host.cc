#include "common/network/http_host.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace diptych {
namespace {

// Empty, or ":" and digits.
bool IsPort(std::string_view text) {
  if (text.empty()) return true;
  return text.front() == ':' && std::all_of(text.begin() + 1, text.end(), absl::ascii_isdigit);
}

bool IsInName(unsigned char c) {
  return absl::ascii_isalnum(c) ||
         std::string_view("-._~%!$&'()*+,;=").find(static_cast<char>(c)) != std::string_view::npos;
}

bool IsIpAddress(const std::string& name) {
  if (name.find('\0') != name.npos) return false;  // inet_pton would not see what follows
  in6_addr address;
  return inet_pton(AF_INET, name.c_str(), &address) == 1 || inet_pton(AF_INET6, name.c_str(), &address) == 1;
}

// Without the port, and without the brackets of an IPv6 address; empty if anything else follows the name, or the
// brackets hold no address.
std::string NameOf(std::string_view host) {
  const bool in_brackets = !host.empty() && host.front() == '[';
  const size_t end = host.find(in_brackets ? ']' : ':');
  if (in_brackets && end == host.npos) return "";
  const std::string_view rest = end == host.npos ? "" : host.substr(end + (in_brackets ? 1 : 0));
  if (!IsPort(rest)) return "";
  const std::string name(in_brackets ? host.substr(1, end - 1) : host.substr(0, end));
  return in_brackets && !IsIpAddress(name) ? "" : name;
}

// Whether these are the characters of a host and perhaps a port (RFC 3986, 3.2.2): no white space, path or user.
bool IsHost(std::string_view host) {
  const std::string name = NameOf(host);
  return IsIpAddress(name) || (!name.empty() && std::all_of(name.begin(), name.end(), IsInName));
}

bool IsHostName(std::string_view text) {
  const bool labels = !text.empty() && text.front() != '.' && text.find("..") == text.npos;
  return labels && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

}  // namespace

absl::Status CheckAllowedHosts(std::span<const std::string> allowed) {
  for (const std::string& entry : allowed) {
    const std::string_view name = entry.starts_with("*.") ? std::string_view(entry).substr(2) : entry;
    if (entry == "*" || IsHostName(name) || IsIpAddress(entry)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--http_hosts takes names such as gpu.example.org, *.example.org or *, "
                     "without scheme, port and path, with commas between, not '",
                     absl::CHexEscape(entry), "'"));
  }
  return absl::OkStatus();
}

RequestTarget ReadTarget(std::string_view target) {
  std::string_view host;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!absl::StartsWithIgnoreCase(absl::string_view(target.data(), target.size()), scheme.data())) continue;
    const size_t end = std::min(target.find_first_of("/?", scheme.size()), target.size());
    if (end == scheme.size()) break;  // no host: it is no path either
    host = target.substr(scheme.size(), end - scheme.size());
    target.remove_prefix(end);
    break;
  }
  const std::string_view path = target.substr(0, target.find('?'));
  return {.host = host, .path = path.empty() && !host.empty() ? "/" : path};
}

std::optional<std::string_view> HostOf(const HostNames& names) {
  const std::string_view host = ReadTarget(names.target).host;
  if (!host.empty() && !IsHost(host)) return std::nullopt;
  const bool one = names.headers == 1 && IsHost(names.header);
  const bool none = names.headers == 0 && names.version < 11;
  if (!one && !none) return std::nullopt;
  return host.empty() ? names.header : host;
}

bool IsAllowedHost(std::string_view host, std::span<const std::string> allowed) {
  const std::string name = NameOf(host);
  if (IsIpAddress(name) || absl::EqualsIgnoreCase(name, "localhost")) return true;
  return std::any_of(allowed.begin(), allowed.end(), [&](const std::string& entry) {
    if (entry == "*") return true;
    if (entry.starts_with("*.")) return absl::EndsWithIgnoreCase(name, entry.substr(1));
    return !name.empty() && absl::EqualsIgnoreCase(name, entry);
  });
}

}  // namespace diptych
