#include "gateway/image_urls/public_address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <string>

namespace diptych::gateway {
namespace {

bool IsPublic(const std::string& text) {
  sockaddr_in v4 = {};
  v4.sin_family = AF_INET;
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) return IsPublicAddress(reinterpret_cast<sockaddr&>(v4));
  sockaddr_in6 v6 = {};
  v6.sin6_family = AF_INET6;
  EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr), 1) << text;
  return IsPublicAddress(reinterpret_cast<sockaddr&>(v6));
}

TEST(PublicAddressTest, KnowsEachSpecialRangeAndItsBorders) {
  for (const char* address : {"0.0.0.0",
                              "0.255.255.255",
                              "10.0.0.0",
                              "10.255.255.255",
                              "100.64.0.0",
                              "100.127.255.255",
                              "127.0.0.1",
                              "127.255.255.255",
                              "168.63.129.16",
                              "169.254.0.0",
                              "169.254.169.254",
                              "172.16.0.0",
                              "172.31.255.255",
                              "192.0.0.0",
                              "192.0.0.192",
                              "192.0.2.1",
                              "192.88.99.1",
                              "192.168.0.0",
                              "192.168.255.255",
                              "198.18.0.0",
                              "198.19.255.255",
                              "198.51.100.7",
                              "203.0.113.255",
                              "224.0.0.1",
                              "239.255.255.255",
                              "240.0.0.1",
                              "255.255.255.255",
                              "::",
                              "::1",
                              "::ffff:8.8.8.8",
                              "::ffff:10.0.0.1",
                              "::8.8.8.8",
                              "64:ff9b::808:808",
                              "64:ff9b:1::1",
                              "100::1",
                              "2001::1",
                              "2001:1ff:ffff::",
                              "2001:db8::1",
                              "2002:808:808::1",
                              "3fff::1",
                              "4000::1",
                              "5f00::1",
                              "fc00::1",
                              "fd00:ec2::254",
                              "fe80::1",
                              "fec0::1",
                              "ff02::1",
                              "1fff:ffff::1"}) {
    EXPECT_FALSE(IsPublic(address)) << address;
  }
  for (const char* address : {"1.0.0.0",         "8.8.8.8",         "9.255.255.255",   "11.0.0.0",
                              "100.63.255.255",  "100.128.0.0",     "126.255.255.255", "128.0.0.0",
                              "168.63.129.15",   "168.63.129.17",   "169.253.255.255", "169.255.0.0",
                              "172.15.255.255",  "172.32.0.0",      "192.0.1.0",       "192.0.3.0",
                              "192.167.255.255", "192.169.0.0",     "198.17.255.255",  "198.20.0.0",
                              "223.255.255.255", "2000::1",         "2001:200::1",     "2001:4860:4860::8888",
                              "2003::1",         "2606:4700::1111", "3ffe:ffff::1",    "3fff:1000::1"}) {
    EXPECT_TRUE(IsPublic(address)) << address;
  }
}

TEST(PublicAddressTest, OtherFamiliesAndScopesAreNotPublic) {
  sockaddr_un file = {};
  file.sun_family = AF_UNIX;
  EXPECT_FALSE(IsPublicAddress(reinterpret_cast<sockaddr&>(file)));
  sockaddr_in6 scoped = {};
  scoped.sin6_family = AF_INET6;
  inet_pton(AF_INET6, "2606:4700::1111", &scoped.sin6_addr);
  EXPECT_TRUE(IsPublicAddress(reinterpret_cast<sockaddr&>(scoped)));
  scoped.sin6_scope_id = 2;
  EXPECT_FALSE(IsPublicAddress(reinterpret_cast<sockaddr&>(scoped)));
}

}  // namespace
}  // namespace diptych::gateway
