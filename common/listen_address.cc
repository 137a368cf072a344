#include "common/listen_address.h"

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

}  // namespace

absl::StatusOr<HostPort> ParseHostPort(std::string_view text) {
  const absl::string_view address(text.data(), text.size());
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos) return Fault(address, "has no port");
  absl::string_view host = address.substr(0, colon);
  const int port = PortOf(address.substr(colon + 1));
  if (port < 0) return Fault(address, "has no port from 0 to 65535");
  const bool brackets = absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  if (host.empty()) return Fault(address, "has no host (0.0.0.0 or [::] stands for all)");
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

absl::Status CheckTargetPorts(std::string_view text) {
  absl::string_view target(text.data(), text.size());
  for (const char* other : {"unix:", "unix-abstract:", "vsock:", "xds:", "google-c2p:"}) {
    if (absl::StartsWith(target, other)) return absl::OkStatus();
  }
  const absl::string_view whole = target;
  if (absl::ConsumePrefix(&target, "dns:") || absl::ConsumePrefix(&target, "ipv4:") ||
      absl::ConsumePrefix(&target, "ipv6:")) {
    target = target.substr(target.rfind('/') == absl::string_view::npos ? 0 : target.rfind('/') + 1);
  }
  for (const absl::string_view address : absl::StrSplit(target, ',')) {
    const size_t colon = address.rfind(':');
    const bool has_port = colon != absl::string_view::npos && address.find(':') == colon;
    const bool in_brackets = absl::StrContains(address, "]:");
    if (!has_port && !in_brackets) continue;
    if (PortOf(address.substr(colon + 1)) < 1) {
      return absl::InvalidArgumentError(absl::StrCat("\"", whole, "\" has a port that is not from 1 to 65535"));
    }
  }
  return absl::OkStatus();
}

}  // namespace diptych
