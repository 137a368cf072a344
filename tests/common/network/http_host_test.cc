#include "common/network/http_host.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
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
  for (const char* host :
       {"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", ":8080",
        "[evil.example]:80", "[::1", "127.0.0.1@evil.example", "1", "0x7f.0.0.1", "[::1]evil.example", "[::1]%80",
        "[localhost]", "[localhost]:80", "localhost:evil.example", "127.0.0.1:80.evil.example"}) {
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
  EXPECT_FALSE(IsAllowedHost("[gateway]", allowed));
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

TEST(HttpHostTest, ReadsTargetsOfBothForms) {
  const auto read = [](std::string_view text) {
    const RequestTarget target = ReadTarget(text);
    return std::pair(std::string(target.host), std::string(target.path));
  };
  using Read = std::pair<std::string, std::string>;
  EXPECT_EQ(read("/v1/models?a=/b?c"), Read("", "/v1/models"));
  EXPECT_EQ(read("http://localhost:8080/v1/models?a"), Read("localhost:8080", "/v1/models"));
  EXPECT_EQ(read("HTTPS://[::1]"), Read("[::1]", "/"));
  EXPECT_EQ(read("http://a?b"), Read("a", "/"));
  EXPECT_EQ(read("http:///v1/models"), Read("", "http:///v1/models"));
  EXPECT_EQ(read("gopher://a/b"), Read("", "gopher://a/b"));
  EXPECT_EQ(read("*"), Read("", "*"));
  EXPECT_EQ(read(""), Read("", ""));
}

std::optional<std::string_view> HostOfGet(const char* target, std::vector<std::string_view> headers,
                                          unsigned version = 11) {
  return HostOf({.version = version,
                 .target = target,
                 .headers = headers.size(),
                 .header = headers.empty() ? "" : headers.front()});
}

TEST(HttpHostTest, ARequestIsForTheHostOfItsTargetOrElseOfItsHeader) {
  EXPECT_EQ(HostOfGet("/a", {"gateway:80"}), "gateway:80");
  EXPECT_EQ(HostOfGet("http://evil.example/a", {"gateway"}), "evil.example");
  EXPECT_EQ(HostOfGet("/a", {}, 10), "");
  EXPECT_EQ(HostOfGet("http://gateway/a", {}, 10), "gateway");
}

TEST(HttpHostTest, ARequestThatDoesNotSayOnceForWhichHostItIsHasNone) {
  EXPECT_EQ(HostOfGet("/a", {}), std::nullopt);
  EXPECT_EQ(HostOfGet("http://gateway/a", {}), std::nullopt);
  EXPECT_EQ(HostOfGet("/a", {"gateway", "gateway"}), std::nullopt);
  for (const char* host : {"", "gate way", "user@", "gateway/a", "gateway:http", "[::1", "[gateway]"}) {
    EXPECT_EQ(HostOfGet("/a", {host}), std::nullopt) << host;
    EXPECT_EQ(HostOfGet("/a", {host}, 10), std::nullopt) << host;
  }
  EXPECT_EQ(HostOfGet("http://user name/a", {"gateway"}), std::nullopt);
}

}  // namespace
}  // namespace diptych
