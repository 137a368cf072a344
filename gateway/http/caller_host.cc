#include "gateway/http/caller_host.h"

namespace diptych::gateway {

namespace ip = boost::asio::ip;

std::string CallerHost(const ip::address& address) {
  if (address.is_v4()) return address.to_string();
  if (address.to_v6().is_v4_mapped()) return ip::make_address_v4(ip::v4_mapped, address.to_v6()).to_string();
  const auto bytes = address.to_v6().to_bytes();
  return std::string(bytes.begin(), bytes.begin() + bytes.size() / 2);
}

}  // namespace diptych::gateway
