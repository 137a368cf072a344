#include "common/network/http_host.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace diptych {
namespace {

TEST(HttpHostTest, AddressesAndLocalhostPass) {
  for (const char* host : {"127.0.0.1", "127.0.0.1:8080", "10.1.2.3:80", "[::1]", "[::1]:8080", "[fe80::1]:1",
                           "localhost", "LocalHost:8080"}) {
    EXPECT_TRUE(IsAllowedHost(host, {})) << host;
  }
}

TEST(HttpHostTest, NamesOfStrangersDoNot) {
  for (const char* host : {"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "",
                           ":8080", "[evil.example]:80", "[::1", "127.0.0.1@evil.example", "1", "0x7f.0.0.1",
                           "[::1]evil.example", "[::1]%80", "localhost:evil.example", "127.0.0.1:80.evil.example"}) {
    EXPECT_FALSE(IsAllowedHost(host, {})) << host;
  }
}

TEST(HttpHostTest, NothingIsHiddenBehindANul) {
  for (std::string host : {"[::#evil.example]:80", "127.0.0.1#.evil.example", "localhost#"}) {
    host[host.find('#')] = '\0';
    EXPECT_FALSE(IsAllowedHost(host, {})) << host;
  }
}

TEST(HttpHostTest, NamedHostsPass) {
  const std::vector<std::string> allowed = {"diptych.example", "gateway"};
  EXPECT_TRUE(IsAllowedHost("Diptych.Example:443", allowed));
  EXPECT_TRUE(IsAllowedHost("gateway", allowed));
  EXPECT_FALSE(IsAllowedHost("evil.diptych.example", allowed));
  EXPECT_FALSE(IsAllowedHost("", allowed));
  EXPECT_TRUE(IsAllowedHost("evil.example", std::vector<std::string>{"*"}));
}

TEST(HttpHostTest, AWildcardTakesEveryNameBelow) {
  const std::vector<std::string> allowed = {"*.diptych.example"};
  EXPECT_TRUE(IsAllowedHost("a.Diptych.example:443", allowed));
  EXPECT_TRUE(IsAllowedHost("a.b.diptych.example", allowed));
  for (const char* host : {"diptych.example", "evildiptych.example", "a.diptych.example.evil", "*", ""}) {
    EXPECT_FALSE(IsAllowedHost(host, allowed)) << host;
  }
}

}  // namespace
}  // namespace diptych
