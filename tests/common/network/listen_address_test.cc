#include "common/network/listen_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace diptych {
namespace {

TEST(ParseHostPortTest, TakesHostsAndPorts) {
  struct {
    const char* address;
    const char* host;
    int port;
  } kCases[] = {{"127.0.0.1:7000", "127.0.0.1", 7000}, {"localhost:0", "localhost", 0},
                {"0.0.0.0:65535", "0.0.0.0", 65535},   {"[::]:80", "::", 80},
                {"[::1]:7000", "::1", 7000},           {"gateway.example:1", "gateway.example", 1}};
  for (const auto& c : kCases) {
    const auto parsed = ParseHostPort(c.address);
    ASSERT_TRUE(parsed.ok()) << c.address << ": " << parsed.status();
    EXPECT_EQ(parsed->host, c.host);
    EXPECT_EQ(parsed->port, c.port);
  }
}

TEST(ParseHostPortTest, RefusesAnythingElseAndQuotesIt) {
  for (const char* address : {"0.0.0.0:80000",
                              "0.0.0.0:65536",
                              "0.0.0.0:-1",
                              "0.0.0.0:+80",
                              "0.0.0.0:",
                              "0.0.0.0",
                              "0.0.0.0:80x",
                              "0.0.0.0: 80",
                              "0.0.0.0:0x50",
                              "0.0.0.0:8e1",
                              "0.0.0.0:4294967376",
                              ":7000",
                              "",
                              ":",
                              "[]:7000",
                              "::1:7000",
                              "[::1]",
                              "[::1]7000",
                              "[::1:7000",
                              "::1]:7000",
                              "a b:7000",
                              "http://127.0.0.1:7000",
                              "unix:/tmp/socket",
                              "1:2:3"}) {
    const absl::Status status = ParseHostPort(address).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_NE(status.message().find(address), absl::string_view::npos) << status;
  }
}

TEST(ParseHostPortTest, NamesASchemeAsOne) {
  for (const char* address : {"http://127.0.0.1:7000", "grpc://[::1]:7000"}) {
    EXPECT_THAT(std::string(ParseHostPort(address).status().message()), ::testing::HasSubstr("has a scheme"));
  }
}

TEST(IsLoopbackTest, KnowsWhatOthersReach) {
  for (const char* host : {"127.0.0.1", "127.8.0.1", "::1", "localhost"}) EXPECT_TRUE(IsLoopback(host)) << host;
  for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "gateway", "1.127.0.1"}) EXPECT_FALSE(IsLoopback(host)) << host;
}

TEST(TargetAddressesTest, SplitsHostsFromPorts) {
  struct {
    const char* target;
    const char* host;
    std::optional<std::string> port;
  } kCases[] = {{"gateway:7000", "gateway", "7000"},
                {"gateway", "gateway", std::nullopt},
                {"gateway:", "gateway", ""},
                {"gateway:http", "gateway", "http"},
                {"dns:gateway:7000", "gateway", "7000"},
                {"dns:///gateway:7000", "gateway", "7000"},
                {"dns://8.8.8.8/gateway:7000", "gateway", "7000"},
                {"ipv4:10.0.0.1:7000", "10.0.0.1", "7000"},
                {"ipv6:[::1]:7000", "::1", "7000"},
                {"ipv6:%5B::1%5D:7000", "%5B::1%5D:7000", std::nullopt},
                {"[::1]:7000", "::1", "7000"},
                {"[::1]", "::1", std::nullopt},
                {"::1", "::1", std::nullopt}};
  for (const auto& c : kCases) {
    const std::vector<TargetAddress> addresses = TargetAddresses(c.target);
    ASSERT_EQ(addresses.size(), 1u) << c.target;
    EXPECT_EQ(addresses[0].host, c.host) << c.target;
    EXPECT_EQ(addresses[0].port, c.port) << c.target;
  }
}

TEST(TargetAddressesTest, GivesEachOfSeveralAndNoneForWhatIsNoHost) {
  const std::vector<TargetAddress> two = TargetAddresses("ipv4:10.0.0.1:7001,10.0.0.2:7002");
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[1].host, "10.0.0.2");
  EXPECT_EQ(two[1].port, "7002");
  for (const char* target : {"unix:/run/vision", "unix-abstract:vision", "vsock:1:2", "xds:///vision"}) {
    EXPECT_TRUE(TargetAddresses(target).empty()) << target;
  }
}

TEST(CheckTargetPortsTest, TakesWhatGrpcTakes) {
  for (const char* target :
       {"127.0.0.1:7001", "vision:7001", "dns:///vision:7001", "dns:vision:7001", "dns://8.8.8.8/vision:7001",
        "ipv4:10.0.0.1:7001,10.0.0.2:7001", "ipv6:[::1]:7001", "[::1]:7001", "ipv6:[fe80::1%eth0]:7001",
        "unix:/run/vision", "unix-abstract:vision", "xds:///vision", "xds:vision"}) {
    EXPECT_TRUE(CheckTargetPorts(target).ok()) << target;
  }
}

TEST(CheckTargetPortsTest, RefusesPortsThatAreNone) {
  for (const char* target : {"127.0.0.1:80000", "127.0.0.1:0", "vision:x", "dns:///vision:65536",
                             "ipv4:10.0.0.1:7001,10.0.0.2:70001", "ipv6:[::1]:99999", "[::1]:"}) {
    EXPECT_EQ(CheckTargetPorts(target).code(), absl::StatusCode::kInvalidArgument) << target;
  }
}

TEST(CheckTargetPortsTest, RefusesWhatGrpcWouldWaitFor) {
  for (const char* target : {"vision",
                             "127.0.0.1",
                             "::1",
                             "[::1]",
                             "http://vision:7001",
                             "https://vision:7001",
                             "tcp:vision:7001",
                             "ipv4:127.0.0.1",
                             "ipv4:999.1.1.1:7",
                             "ipv4:vision:7001",
                             "ipv4:10.0.0.1:7001,",
                             "ipv4:[::1]:7001",
                             "ipv6:[10.0.0.1]:7001",
                             "ipv6:::1",
                             "dns:///",
                             "dns:",
                             "dns:///vision",
                             "dns:///:7001",
                             "dns:///http://vision:7001",
                             "vision:7001,other:7001",
                             "my vision:7001",
                             "vision/a:7001",
                             ":7001",
                             "unix:",
                             "xds:///"}) {
    const absl::Status status = CheckTargetPorts(target);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << target;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("for example 127.0.0.1:7000")) << target;
  }
}

}  // namespace
}  // namespace diptych
