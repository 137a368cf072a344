#include "common/network/listen_address.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status.h"

namespace diptych {
namespace {

constexpr size_t kMaxPortDigits = 5;

// -1 for what is no port.
int PortOf(absl::string_view digits) {
  int port = -1;
  const bool plain = !digits.empty() && digits.size() <= kMaxPortDigits &&
                     std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit);
  return plain && absl::SimpleAtoi(digits, &port) && port <= 65535 ? port : -1;
}

absl::Status Fault(absl::string_view address, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", address, "\" ", what, "; give host:port, for example 127.0.0.1:7000 or [::1]:7000"));
}

struct SplitAddress {
  absl::string_view host, port;  // as they are written
};

// At the last colon; nullopt if there is none.
std::optional<SplitAddress> Split(absl::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos) return std::nullopt;
  return SplitAddress{address.substr(0, colon), address.substr(colon + 1)};
}

// An IPv6 address without brackets has no port.
TargetAddress TargetAddressOf(absl::string_view address) {
  const std::optional<SplitAddress> split = Split(address);
  const bool in_brackets = absl::StrContains(address, "]:");
  const bool has_port = split && (in_brackets || !absl::StrContains(split->host, ':'));
  absl::string_view host = has_port ? split->host : address;
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  return {.host = std::string(host), .port = has_port ? std::optional<std::string>(split->port) : std::nullopt};
}

absl::Status TargetFault(std::string_view target, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("\"", absl::string_view(target.data(), target.size()), "\" ", what,
                                                 "; give host:port, for example 127.0.0.1:7000, dns:///host:7000 or "
                                                 "ipv4:10.0.0.1:7000,10.0.0.2:7000"));
}

// Empty for an address that can be; `family` is AF_UNSPEC where a name may stand.
absl::string_view AddressFault(const TargetAddress& address, int family) {
  in6_addr parsed;  // holds an in_addr too
  const std::string without_zone = address.host.substr(0, address.host.find('%'));
  if (address.host.empty()) return "has no host";
  if (address.host.find_first_of("/[] \t\r\n") != std::string::npos) return "has no host that can be";
  if (!address.port) return "has no port";
  if (family == AF_UNSPEC && absl::StrContains(address.host, ':')) family = AF_INET6;
  if (PortOf(*address.port) < 1) return "has a port that is not from 1 to 65535";
  if (family == AF_INET && inet_pton(family, address.host.c_str(), &parsed) != 1) return "has no IPv4 address";
  if (family == AF_INET6 && inet_pton(family, without_zone.c_str(), &parsed) != 1) return "has no IPv6 address";
  return "";
}

}  // namespace

absl::StatusOr<HostPort> ParseHostPort(std::string_view text) {
  const absl::string_view address(text.data(), text.size());
  const std::optional<SplitAddress> split = Split(address);
  if (!split) return Fault(address, "has no port");
  absl::string_view host = split->host;
  const int port = PortOf(split->port);
  if (port < 0) return Fault(address, "has no port from 0 to 65535");
  const bool brackets = absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  if (host.empty()) return Fault(address, "has no host (0.0.0.0 or [::] means every address of this machine)");
  if (absl::StrContains(host, "://")) return Fault(address, "has a scheme");
  if (!brackets && absl::StrContains(host, ':')) return Fault(address, "needs brackets around its IPv6 address");
  if (absl::StrContains(host, '[') || absl::StrContains(host, ']') || absl::StrContains(host, '/') ||
      std::any_of(host.begin(), host.end(), absl::ascii_isspace)) {
    return Fault(address, "has no host that can be");
  }
  return HostPort{.host = std::string(host), .port = static_cast<uint16_t>(port)};
}

absl::Status CheckListenFlag(std::string_view name, std::string_view address) {
  return Annotate(ParseHostPort(address).status(), absl::StrCat("cannot listen with --", std::string(name)));
}

bool IsLoopback(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::vector<TargetAddress> TargetAddresses(std::string_view text) {
  absl::string_view target(text.data(), text.size());
  for (const char* other : {"unix:", "unix-abstract:", "vsock:", "xds:", "google-c2p:"}) {
    if (absl::StartsWith(target, other)) return {};
  }
  if (absl::ConsumePrefix(&target, "dns:") || absl::ConsumePrefix(&target, "ipv4:") ||
      absl::ConsumePrefix(&target, "ipv6:")) {
    target = target.substr(target.rfind('/') == absl::string_view::npos ? 0 : target.rfind('/') + 1);
  }
  std::vector<TargetAddress> addresses;
  for (const absl::string_view address : absl::StrSplit(target, ',')) addresses.push_back(TargetAddressOf(address));
  return addresses;
}

absl::Status CheckTargetPorts(std::string_view text) {
  absl::string_view rest(text.data(), text.size());
  for (const absl::string_view scheme : {"unix:", "unix-abstract:", "xds:"}) {
    if (!absl::ConsumePrefix(&rest, scheme)) continue;
    return rest.find_first_not_of('/') == rest.npos ? TargetFault(text, "names nothing") : absl::OkStatus();
  }
  const int family = absl::StartsWith(rest, "ipv4:") ? AF_INET : absl::StartsWith(rest, "ipv6:") ? AF_INET6 : AF_UNSPEC;
  if (family == AF_UNSPEC && absl::StrContains(absl::StripPrefix(rest, "dns:"), "://")) {
    return TargetFault(text, "is a URL or has a scheme that is not known");
  }
  const std::vector<TargetAddress> addresses = TargetAddresses(text);
  if (family == AF_UNSPEC && addresses.size() > 1) return TargetFault(text, "has several names");
  for (const TargetAddress& address : addresses) {
    if (const absl::string_view fault = AddressFault(address, family); !fault.empty()) return TargetFault(text, fault);
  }
  return absl::OkStatus();
}

bool IsTargetPort(std::string_view text) {
  return PortOf(absl::string_view(text.data(), text.size())) >= 1;
}

}  // namespace diptych
