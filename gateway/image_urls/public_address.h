// Which addresses belong to the public internet.
#pragma once

#include <sys/socket.h>

namespace diptych::gateway {

// False for everything that the registries of special-purpose addresses (RFC 6890 and what came after it) keep from
// public use: private, loopback, link-local, shared (CGNAT), multicast, documentation, benchmarks, reserved; for IPv6
// all outside 2000::/3, which includes IPv4-mapped, NAT64 and unique local addresses, and inside it the ranges that
// carry an IPv4 address (6to4, Teredo); for the one public address that is a cloud's own (168.63.129.16); for other
// families.
bool IsPublicAddress(const sockaddr& address);

}  // namespace diptych::gateway
