#include "common/grpc/channel.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"

namespace diptych {
namespace {

using namespace std::chrono_literals;  // NOLINT

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& target, const std::string& service) {
  const auto maker = ChannelMaker::Open({.target = target, .service_name = service});
  return maker.ok() ? (*maker)->Make() : nullptr;
}

grpc::Status Check(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + 30s);
  grpc::health::v1::HealthCheckResponse response;
  return grpc::health::v1::Health::NewStub(channel)->Check(&context, {}, &response);
}

TEST(ChannelTest, TwoServicesMayBeSoughtAtOneAddressThatRefusesConnections) {
  const std::string target = "127.0.0.1:1";
  const auto first = ChannelTo(target, "diptych.v1.First");
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(Check(first).error_code(), grpc::StatusCode::UNAVAILABLE);
  for (int i = 0; i < 20; ++i) {
    const auto other = ChannelTo(target, "diptych.v1.Other" + std::to_string(i));
    ASSERT_NE(other, nullptr);
    EXPECT_EQ(Check(other).error_code(), grpc::StatusCode::UNAVAILABLE);
  }
}

TEST(ChannelTest, WithTlsAListOfSeveralHostsHasNoNameToCheck) {
  for (const char* target : {"ipv4:10.0.0.1:7001,10.0.0.2:7001", "ipv6:[::1]:7001,[::2]:7001"}) {
    const auto maker = ChannelMaker::Open({.target = target, .tls = {.client_ca_file = "/dev/null"}});
    EXPECT_EQ(maker.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(maker.status().message().find("DNS name"), std::string::npos) << maker.status();
    EXPECT_TRUE(ChannelMaker::Open({.target = target}).ok());
  }
}

}  // namespace
}  // namespace diptych
