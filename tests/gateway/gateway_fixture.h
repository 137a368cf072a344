// A gateway in this process in front of fake tiers.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/grpc/grpc_status.h"
#include "common/status.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "gateway/server.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/testing/fake_tiers.h"

namespace diptych::gateway {

// How a call ends whose replica went away.
inline const grpc::Status kReplicaGone(grpc::StatusCode::UNAVAILABLE, "connection reset");

// How a call ends whose replica has no room.
inline grpc::Status ReplicaFull() {
  return ToGrpcStatus(RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full", absl::Seconds(1)));
}

class GatewayFixture : public ::testing::Test {
 protected:
  // Starts the gateway and waits until it is ready, unless told not to.
  void StartGateway(const std::string& language_target, Options options = {}, bool wait = true) {
    options.listen = "127.0.0.1:0";
    options.language_target = language_target;
    options.vision_target = vision_.target();
    auto server = GatewayServer::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    gateway_ = *std::move(server);
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(gateway_->port()), grpc::InsecureChannelCredentials());
    stub_ = v1::GatewayService::NewStub(channel_);
    if (wait) WaitForHealth("readiness", Health::SERVING);
  }

  using Health = grpc::health::v1::HealthCheckResponse;

  // Follows the health of `service` until it is `wanted`.
  void WaitForHealth(const std::string& service, Health::ServingStatus wanted) {
    const auto stub = grpc::health::v1::Health::NewStub(channel_);
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    const auto reader = stub->Watch(&context, request);
    Health response;
    while (reader->Read(&response) && response.status() != wanted) {
    }
    EXPECT_EQ(response.status(), wanted) << service;
    context.TryCancel();
  }

  static v1::Question TextQuestion() {
    v1::Question question;
    question.set_prompt("a question");
    return question;
  }

  absl::StatusOr<v1::Answer> Ask(const v1::Question& question) {
    grpc::ClientContext context;
    return Ask(context, question);
  }

  absl::StatusOr<v1::Answer> Ask(grpc::ClientContext& context, const v1::Question& question) {
    v1::AskRequest request;
    *request.mutable_question() = question;
    v1::AskResponse response;
    const grpc::Status status = stub_->Ask(&context, request, &response);
    if (!status.ok()) return FromGrpcStatus(status);
    return response.answer();
  }

  struct Stream {
    std::vector<v1::AskStreamResponse> events;
    absl::Status status;
    std::string Text() const {
      std::string text;
      for (const auto& event : events) text += event.delta().text();
      return text;
    }
  };

  Stream AskStream(const v1::Question& question) {
    grpc::ClientContext context;
    v1::AskStreamRequest request;
    *request.mutable_question() = question;
    Stream stream;
    const auto reader = stub_->AskStream(&context, request);
    for (v1::AskStreamResponse event; reader->Read(&event);) stream.events.push_back(event);
    stream.status = FromGrpcStatus(reader->Finish());
    return stream;
  }

  testing::FakeVisionTier vision_;
  std::unique_ptr<GatewayServer> gateway_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::GatewayService::Stub> stub_;
};

}  // namespace diptych::gateway
