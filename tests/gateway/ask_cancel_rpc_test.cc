// Cancels and deadlines of Ask and AskStream reach the tier.
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "common/error_details.h"
#include "tests/gateway/gateway_fixture.h"

namespace diptych::gateway {
namespace {

using testing::DeltaMessage;
using testing::FakeLanguageTier;
using testing::StartedMessage;
using Writer = FakeLanguageTier::Writer;

class AskCancelRpcTest : public GatewayFixture {};

TEST_F(AskCancelRpcTest, CancellingReachesTheTier) {
  std::promise<void> in_tier, cancelled;
  FakeLanguageTier language([&](int, grpc::ServerContext* context, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    in_tier.set_value();
    while (!context->IsCancelled()) std::this_thread::yield();
    cancelled.set_value();
    return grpc::Status::CANCELLED;
  });
  StartGateway(language.target());
  grpc::ClientContext context;
  auto answer = std::async(std::launch::async, [&] { return Ask(context, TextQuestion()); });
  in_tier.get_future().wait();
  context.TryCancel();
  EXPECT_EQ(answer.get().status().code(), absl::StatusCode::kCancelled);
  cancelled.get_future().wait();  // ends only if the tier was told
}

TEST_F(AskCancelRpcTest, AnAbandonedStreamReachesTheTier) {
  std::promise<void> cancelled;
  FakeLanguageTier language([&](int, grpc::ServerContext* context, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    while (!context->IsCancelled()) writer->Write(DeltaMessage("and on ", 5));
    cancelled.set_value();
    return grpc::Status::CANCELLED;
  });
  StartGateway(language.target());
  {
    grpc::ClientContext context;
    v1::AskStreamRequest request;
    *request.mutable_question() = TextQuestion();
    const auto reader = stub_->AskStream(&context, request);
    v1::AskStreamResponse event;
    ASSERT_TRUE(reader->Read(&event));
    ASSERT_TRUE(reader->Read(&event));
    context.TryCancel();
    reader->Finish();
  }
  cancelled.get_future().wait();
}

TEST_F(AskCancelRpcTest, TheCallersDeadlineReachesTheTier) {
  std::promise<std::chrono::system_clock::time_point> seen;
  FakeLanguageTier language([&](int, grpc::ServerContext* context, const auto&, Writer*) {
    seen.set_value(context->deadline());
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  });
  StartGateway(language.target());
  grpc::ClientContext context;
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(1);
  context.set_deadline(deadline);
  const absl::Status status = Ask(context, TextQuestion()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(seen.get_future().get(), deadline + std::chrono::seconds(30)) << "gRPC hands on what was left of it";
}

TEST_F(AskCancelRpcTest, ACallWithoutDeadlineGetsTheServersOwn) {
  FakeLanguageTier language([](int call, grpc::ServerContext* context, const auto&, Writer* writer) {
    if (call == 2) writer->Write(StartedMessage());
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  });
  StartGateway(language.target(), {.request_timeout = absl::Milliseconds(300)});
  const absl::Status status = Ask(TextQuestion()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("language_queue"), absl::string_view::npos) << "names the stage: " << status;
  EXPECT_NE(status.message().find("--request_timeout"), absl::string_view::npos) << "names the flag: " << status;
  EXPECT_EQ(DetailOf(status, detail::kStage), "language_queue");
  EXPECT_EQ(DetailOf(status, detail::kLimit), "request_timeout");
  const absl::Status later = Ask(TextQuestion()).status();
  EXPECT_NE(later.message().find("prefill"), absl::string_view::npos) << later;
}

}  // namespace
}  // namespace diptych::gateway
