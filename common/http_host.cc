#include "common/http_host.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace diptych {
namespace {

// Without the port, and without the brackets of an IPv6 address.
std::string NameOf(std::string_view host) {
  if (!host.empty() && host.front() == '[') {
    const size_t end = host.find(']');
    return end == host.npos ? "" : std::string(host.substr(1, end - 1));
  }
  return std::string(host.substr(0, host.find(':')));
}

bool IsIpAddress(const std::string& name) {
  in6_addr address;
  return inet_pton(AF_INET, name.c_str(), &address) == 1 || inet_pton(AF_INET6, name.c_str(), &address) == 1;
}

}  // namespace

bool IsAllowedHost(std::string_view host, std::span<const std::string> allowed) {
  const std::string name = NameOf(host);
  if (IsIpAddress(name) || absl::EqualsIgnoreCase(name, "localhost")) return true;
  return std::any_of(allowed.begin(), allowed.end(), [&](const std::string& entry) {
    return entry == "*" || (!name.empty() && absl::EqualsIgnoreCase(name, entry));
  });
}

}  // namespace diptych
