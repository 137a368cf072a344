// Which callers count as one host.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <string>

namespace diptych::gateway {

// The same for all addresses that one host may have: of an IPv6 address the first half counts. An IPv4 address is
// itself, also where a port of IPv6 took it.
std::string CallerHost(const boost::asio::ip::address& address);

}  // namespace diptych::gateway
