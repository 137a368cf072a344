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

// Without the port, and without the brackets of an IPv6 address; empty if anything else follows the name.
std::string NameOf(std::string_view host) {
  const bool in_brackets = !host.empty() && host.front() == '[';
  const size_t end = host.find(in_brackets ? ']' : ':');
  if (in_brackets && end == host.npos) return "";
  const std::string_view rest = end == host.npos ? "" : host.substr(end + (in_brackets ? 1 : 0));
  if (!IsPort(rest)) return "";
  return std::string(in_brackets ? host.substr(1, end - 1) : host.substr(0, end));
}

bool IsIpAddress(const std::string& name) {
  if (name.find('\0') != name.npos) return false;  // inet_pton would not see what follows
  in6_addr address;
  return inet_pton(AF_INET, name.c_str(), &address) == 1 || inet_pton(AF_INET6, name.c_str(), &address) == 1;
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

bool IsHostHeader(unsigned version, size_t count, std::string_view host) {
  return count == 0 ? version < 11 : count == 1 && IsHost(host);
}

bool IsHost(std::string_view host) {
  const std::string name = NameOf(host);
  if (host.starts_with('[')) return IsIpAddress(name);
  return !name.empty() && std::all_of(name.begin(), name.end(), IsInName);
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
