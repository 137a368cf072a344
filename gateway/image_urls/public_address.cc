#include "gateway/image_urls/public_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <iterator>

namespace diptych::gateway {
namespace {

struct Range {
  std::array<uint8_t, 4> prefix;  // the first bytes of an address; none here needs more
  int bits;
};

constexpr Range kSpecial4[] = {
    {{0, 0, 0, 0}, 8},         // "this network"
    {{10, 0, 0, 0}, 8},        // private
    {{100, 64, 0, 0}, 10},     // shared, CGNAT
    {{127, 0, 0, 0}, 8},       // loopback
    {{168, 63, 129, 16}, 32},  // a cloud's own service, reachable from inside only
    {{169, 254, 0, 0}, 16},    // link-local, clouds' metadata
    {{172, 16, 0, 0}, 12},     // private
    {{192, 0, 0, 0}, 24},      // protocol assignments
    {{192, 0, 2, 0}, 24},      // documentation
    {{192, 31, 196, 0}, 24},   // AS112
    {{192, 52, 193, 0}, 24},   // AMT
    {{192, 88, 99, 0}, 24},    // 6to4 relays
    {{192, 168, 0, 0}, 16},    // private
    {{192, 175, 48, 0}, 24},   // AS112
    {{198, 18, 0, 0}, 15},     // benchmarks
    {{198, 51, 100, 0}, 24},   // documentation
    {{203, 0, 113, 0}, 24},    // documentation
    {{224, 0, 0, 0}, 4},       // multicast
    {{240, 0, 0, 0}, 4},       // reserved, broadcast
};

constexpr Range kGlobal6 = {{0x20, 0, 0, 0}, 3};
constexpr Range kSpecial6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23},  // protocol assignments: Teredo, ORCHID, benchmarks
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // documentation
    {{0x20, 0x02, 0x00, 0x00}, 16},  // 6to4
    {{0x3f, 0xff, 0x00, 0x00}, 20},  // documentation
};

// True if the first `bits` bits agree.
bool Within(const uint8_t* address, const std::array<uint8_t, 4>& prefix, int bits) {
  for (size_t i = 0; i < prefix.size() && bits > 0; ++i, bits -= 8) {
    const int mask = bits >= 8 ? 0xff : 0xff << (8 - bits) & 0xff;
    if (((address[i] ^ prefix[i]) & mask) != 0) return false;
  }
  return true;
}

}  // namespace

bool IsPublicAddress(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    uint8_t bytes[4];
    std::memcpy(bytes, &v4.sin_addr, sizeof bytes);
    return std::none_of(std::begin(kSpecial4), std::end(kSpecial4),
                        [&](const Range& range) { return Within(bytes, range.prefix, range.bits); });
  }
  if (address.sa_family != AF_INET6) return false;
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  const uint8_t* bytes = v6.sin6_addr.s6_addr;
  return v6.sin6_scope_id == 0 && Within(bytes, kGlobal6.prefix, kGlobal6.bits) &&
         std::none_of(std::begin(kSpecial6), std::end(kSpecial6),
                      [&](const Range& range) { return Within(bytes, range.prefix, range.bits); });
}

}  // namespace diptych::gateway
