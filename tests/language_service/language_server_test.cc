// How the language service behaves under load, cancels, deadlines, failures and drain.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "common/status.h"
#include "language_service/server.h"
#include "tests/language_service/language_fixture.h"
#include "tests/testing/gate.h"
#include "tests/testing/succeeds_once.h"
#include "vision_service/server.h"

namespace diptych::language {
namespace {

using testing::GenerateOutcome;
using testing::TextRequest;

class LanguageServerTest : public testing::LanguageFixture {
 protected:
  // Every pass of the decoder waits at `gate`.
  static std::function<void(ServedLanguageModel&)> GatedBy(testing::Gate& gate) {
    return [&gate](ServedLanguageModel& model) {
      model.forward = [&gate, forward = model.forward](std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool) {
        gate.Pass();
        return forward(rows, pool);
      };
    };
  }

  std::future<GenerateOutcome> AskInBackground() {
    return std::async(std::launch::async, [this] { return AskText(); });
  }
};

TEST_F(LanguageServerTest, ACallWhoseCallerTakesNothingIsGivenUp) {
  auto config = testing::TinyCheckpointConfig();
  config.text.max_position_embeddings = 1024;
  const testing::TinyCheckpoint wide({.config = config});
  options_.model = wide.folder();
  options_.max_unread_tokens = 8;
  options_.reader_patience = absl::Milliseconds(100);
  Start();
  // More than the buffers between the two take.
  v1::GenerateRequest request = TextRequest("the cat");
  v1::GenerationOptions& generation = *request.mutable_question()->mutable_generation();
  generation.set_max_new_tokens(1000);
  generation.set_min_new_tokens(1000);
  generation.set_logprobs(20);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
  grpc::ChannelArguments narrow;
  narrow.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  narrow.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1024);
  const auto stub = v1::LanguageService::NewStub(grpc::CreateCustomChannel(
      absl::StrCat("ipv4:127.0.0.1:", server_->port()), grpc::InsecureChannelCredentials(), narrow));
  const auto reader = stub->Generate(&context, request);
  reader->WaitForInitialMetadata();
  AwaitNobodyInside();
  EXPECT_EQ(server_->stats().engine.slow_readers, 1);
  v1::GenerateResponse message;
  while (reader->Read(&message)) EXPECT_FALSE(message.has_finished());
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(LanguageServerTest, VisionTierDownFailsImagesAndNotText) {
  Start();
  const absl::Status status = AskImage().status;
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), reason::kTierUnavailable);
  EXPECT_TRUE(AskText().status.ok());
}

TEST_F(LanguageServerTest, AVisionTierThatComesLaterIsFound) {
  auto vision = std::make_unique<testing::ScriptedVisionTier>(
      [](const v1::EncodeImageRequest& request, int) { return True(request); });
  const std::string address = absl::StrCat("127.0.0.1:", vision->port());
  options_.vision_target = vision->target();
  vision.reset();
  Start();
  EXPECT_EQ(ReasonOf(AskImage().status), reason::kTierUnavailable);
  vision_ = std::make_unique<testing::ScriptedVisionTier>(
      [](const v1::EncodeImageRequest& request, int) { return True(request); }, address);
  absl::Status status;
  do {
    status = AskImage().status;
  } while (ReasonOf(status) == reason::kTierUnavailable);
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(LanguageServerTest, TiersOfDifferentModelsRefuseToWorkTogether) {
  const testing::TinyCheckpoint other({.seed = 2});
  vision::VisionOptions vision_options;
  vision_options.model = other.folder();
  vision_options.listen = "127.0.0.1:0";
  const auto vision_server = vision::VisionServer::Start(vision_options);
  ASSERT_TRUE(vision_server.ok()) << vision_server.status();
  options_.vision_target = absl::StrCat("ipv4:127.0.0.1:", (*vision_server)->port());
  Start();
  const absl::Status status = AskImage().status;
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), reason::kModelMismatch);
  EXPECT_TRUE(AskText().status.ok());
}

TEST_F(LanguageServerTest, RefusesAtOnceWhenItsPlacesAreTaken) {
  options_.queue_limit = 2;
  testing::Gate gate;
  Start(GatedBy(gate));
  auto running = AskInBackground();
  gate.AwaitArrivals(1);
  auto waiting = AskInBackground();
  while (server_->calls_inside() < 2) std::this_thread::yield();
  const absl::Status refused = AskText().status;
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused), reason::kQueueFull);
  EXPECT_TRUE(RetryAfterOf(refused).has_value());
  gate.Open();
  EXPECT_TRUE(running.get().status.ok());
  EXPECT_TRUE(waiting.get().status.ok());
  EXPECT_TRUE(AskText().status.ok());
}

TEST_F(LanguageServerTest, ACancelStopsTheDecoder) {
  constexpr int kTokens = 100;
  EXPECT_TRUE(testing::SucceedsOnce([this] {
    testing::Gate gate;
    Start(GatedBy(gate));
    grpc::ClientContext context;
    v1::GenerateRequest request = TextRequest("the cat");
    request.mutable_question()->mutable_generation()->set_max_new_tokens(kTokens);
    request.mutable_question()->mutable_generation()->set_min_new_tokens(kTokens);
    const auto reader = stub_->Generate(&context, request);
    gate.AwaitArrivals(1);
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
    gate.Open();
    AwaitNobodyInside();
    const int passes = gate.arrived();
    EXPECT_TRUE(AskText().status.ok());
    return passes < kTokens;
  }));
}

TEST_F(LanguageServerTest, ARequestWhoseDeadlinePassesInTheQueueIsNotRun) {
  EXPECT_TRUE(testing::SucceedsOnce([this] {
    testing::Gate gate;
    Start(GatedBy(gate));
    auto running = AskInBackground();
    gate.AwaitArrivals(1);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
    EXPECT_EQ(testing::Generate(*stub_, TextRequest("the cat"), context).status.code(),
              absl::StatusCode::kDeadlineExceeded);
    gate.Open();
    const GenerateOutcome outcome = running.get();
    EXPECT_TRUE(outcome.status.ok());
    AwaitNobodyInside();
    return gate.arrived() == outcome.answer().token_ids_size();
  }));
}

TEST_F(LanguageServerTest, ADeadlineThatPassesWhileDecodingStopsTheDecoder) {
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(1);
  std::atomic<int> passes = 0;
  Start([&](ServedLanguageModel& model) {
    model.forward = [&, forward = model.forward](std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool) {
      if (++passes == 2) std::this_thread::sleep_until(deadline);  // a slow model
      return forward(rows, pool);
    };
  });
  grpc::ClientContext context;
  context.set_deadline(deadline);
  v1::GenerateRequest request = TextRequest("the cat");
  request.mutable_question()->mutable_generation()->set_min_new_tokens(20);
  EXPECT_EQ(testing::Generate(*stub_, request, context).status.code(), absl::StatusCode::kDeadlineExceeded);
  AwaitNobodyInside();
  EXPECT_EQ(passes, 2);
}

TEST_F(LanguageServerTest, AFailureInsideAStepFailsThatRequestAlone) {
  std::atomic<int> passes = 0;
  Start([&](ServedLanguageModel& model) {
    model.forward = [&, forward = model.forward](std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool) {
      if (passes++ == 1) throw std::runtime_error("secret of the library");
      return forward(rows, pool);
    };
  });
  const absl::Status failed = AskText().status;
  EXPECT_EQ(failed.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(failed.message().find("secret"), absl::string_view::npos);
  EXPECT_TRUE(AskText().status.ok());
}

TEST_F(LanguageServerTest, ScoresThatAreNotFiniteFailThatRequestAlone) {
  std::atomic<int> passes = 0;
  Start([&](ServedLanguageModel& model) {
    model.forward = [&, forward = model.forward](std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool) {
      const at::Tensor logits = forward(rows, pool);
      return passes++ == 0 ? logits * std::numeric_limits<float>::quiet_NaN() : logits;
    };
  });
  EXPECT_EQ(AskText().status.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(AskText().status.ok());
}

TEST_F(LanguageServerTest, DrainLetsRequestsEndAndRefusesNewOnes) {
  testing::Gate gate;
  Start(GatedBy(gate));
  auto inside = AskInBackground();
  gate.AwaitArrivals(1);
  std::thread drain([this] { server_->Drain(); });
  absl::Status refused;
  do {
    refused = Ask({}).status;  // until the drain has begun: a question without form
  } while (refused.code() == absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(refused), reason::kDraining);
  gate.Open();
  EXPECT_TRUE(inside.get().status.ok());
  drain.join();
}

TEST(LanguageServerStartTest, ABadCheckpointIsOneLineThatNamesTheTensor) {
  const testing::TinyCheckpoint broken({.edit_tensors = [](testing::TinyTensors& tensors) {
    tensors.at("language_projection.bias").shape = {3};
    tensors.at("language_projection.bias").bytes.resize(12);
  }});
  LanguageOptions options;
  options.model = broken.folder();
  options.listen = "127.0.0.1:0";
  const auto server = LanguageServer::Start(options);
  ASSERT_FALSE(server.ok());
  EXPECT_NE(server.status().message().find("language_projection.bias"), absl::string_view::npos);
  EXPECT_EQ(server.status().message().find('\n'), absl::string_view::npos);
}

}  // namespace
}  // namespace diptych::language
