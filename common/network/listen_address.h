// Addresses to listen on, as flags give them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace diptych {

struct HostPort {
  std::string host;  // without brackets
  uint16_t port = 0;
};

// "127.0.0.1:7000", "localhost:0", "[::1]:7000". INVALID_ARGUMENT, saying what is wrong, for anything else: a port that
// is no whole number up to 65535, no host, an IPv6 address without brackets.
absl::StatusOr<HostPort> ParseHostPort(std::string_view address);

// Checks the address that flag `name` gives: ParseHostPort's error with the flag before it, else OK.
absl::Status CheckListenFlag(std::string_view name, std::string_view address);

// Whether only this machine can reach that host: localhost, 127.0.0.0/8, ::1.
bool IsLoopback(std::string_view host);

// An address as a gRPC target names it.
struct TargetAddress {
  std::string host;                 // without brackets
  std::optional<std::string> port;  // as it is written, unchecked; nullopt if the target leaves it to gRPC
};

// The addresses of a gRPC target such as "vision:7001", "dns:///vision:7001" or "ipv4:10.0.0.1:7001,10.0.0.2:7001".
// Empty for a target that is no host, as "unix:/run/vision" or "xds:///vision".
std::vector<TargetAddress> TargetAddresses(std::string_view target);

// INVALID_ARGUMENT for a target that gRPC would wait for without end: each address needs a host and a port from 1 to
// 65535, those of ipv4: and ipv6: a number as host. Schemes: dns (also without one), ipv4, ipv6, unix, unix-abstract,
// xds.
absl::Status CheckTargetPorts(std::string_view target);

// Whether `text` is a whole number from 1 to 65535, in digits alone.
bool IsTargetPort(std::string_view text);

}  // namespace diptych
