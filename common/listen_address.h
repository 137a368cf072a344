// Addresses to listen on, as flags give them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

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

// What is wrong with the address that flag `name` gives: ParseHostPort's error with the flag before it, else OK.
absl::Status CheckListenFlag(std::string_view name, std::string_view address);

// Whether nobody but this machine reaches that host: localhost, 127.0.0.0/8, ::1.
bool IsLoopback(std::string_view host);

// Of a gRPC target with explicit ports, such as "dns:///vision:7001" or "ipv4:10.0.0.1:7001,10.0.0.2:7001":
// INVALID_ARGUMENT if one of them is no whole number from 1 to 65535. gRPC itself would take the remainder.
absl::Status CheckTargetPorts(std::string_view target);

}  // namespace diptych
