// How the vision service behaves under load, cancels, deadlines, failures and drain: a double stands for the model.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <future>
#include <limits>
#include <thread>

#include "common/status.h"
#include "common/tiers/engine_health.h"
#include "tests/testing/gate.h"
#include "tests/testing/sample_images.h"
#include "tests/testing/succeeds_once.h"
#include "tests/vision_service/vision_client.h"
#include "vision_service/server.h"

namespace diptych::vision {
namespace {

using testing::EncodeImage;
using testing::EncodeOutcome;

// [1, 257, 1408] float32: six chunks.
at::Tensor LargeTokens() {
  return at::arange(257 * 1408, at::kFloat).view({1, 257, 1408});
}

class VisionServerTest : public ::testing::Test {
 protected:
  void Start(ServedVisionModel::Encode encode, int queue_limit = 64, absl::Duration longest_pass = absl::Minutes(5)) {
    ServedVisionModel model;
    model.description.set_name("double");
    model.description.set_fingerprint("f00d");
    model.description.set_patch_size(14);
    model.description.set_image_size(28);
    model.encode = std::move(encode);
    VisionOptions options;
    options.listen = "127.0.0.1:0";
    options.image_workers = 1;
    options.queue_limit = queue_limit;
    options.longest_pass = longest_pass;
    server_.reset();
    auto server = VisionServer::Start(options, std::move(model));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = testing::VisionStub(server_->port());
    request_.set_image(testing::GoodPng());
  }

  EncodeOutcome Encode() { return EncodeImage(*stub_, request_); }
  // Of the same file, but shrunk before: another image to the server.
  v1::EncodeImageRequest AnotherImage() const {
    v1::EncodeImageRequest request = request_;
    request.mutable_options()->set_max_side(20);
    return request;
  }
  void AwaitIdle() {
    while (server_->calls_inside() > 0 || server_->stats().inflight_bytes > 0) std::this_thread::yield();
    EXPECT_EQ(server_->stats().images_waiting, 0);
    EXPECT_EQ(server_->stats().images_decoding, 0);
  }
  std::future<EncodeOutcome> EncodeInBackground() {
    return std::async(std::launch::async, [this] { return Encode(); });
  }

  // One call holds the model, a second one waits behind it and ends early: by `end`, or else by its deadline.
  bool NotComputed(std::function<void(grpc::ClientContext&)> end) {
    testing::Gate gate;
    Start([&](const at::Tensor&, int) {
      gate.Pass();
      return LargeTokens();
    });
    auto first = EncodeInBackground();
    gate.AwaitArrivals(1);
    grpc::ClientContext context;
    if (!end) context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
    const auto second = stub_->EncodeImage(&context, AnotherImage());
    if (end) {
      while (server_->stats().cache_queries < 2) std::this_thread::yield();
      end(context);
    }
    EXPECT_EQ(second->Finish().error_code(), end ? grpc::StatusCode::CANCELLED : grpc::StatusCode::DEADLINE_EXCEEDED);
    const bool was_inside = server_->stats().cache_queries == 2;
    while (server_->calls_inside() > 1) std::this_thread::yield();  // its place is free while the model is still busy
    const bool left_at_once = server_->stats().images_waiting == 0;
    gate.Open();
    EXPECT_TRUE(first.get().status.ok());
    AwaitIdle();
    return was_inside && left_at_once && gate.arrived() == 1;
  }

  std::unique_ptr<VisionServer> server_;
  std::unique_ptr<v1::VisionService::Stub> stub_;
  v1::EncodeImageRequest request_;
};

TEST_F(VisionServerTest, LargeTokensComeInOrderedChunks) {
  Start([](const at::Tensor&, int) { return LargeTokens(); });
  const EncodeOutcome outcome = Encode();
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  ASSERT_EQ(outcome.messages.size(), 8u);
  EXPECT_EQ(outcome.messages[0].header().chunk_count(), 6);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(outcome.messages[i + 1].chunk().index(), i);
  EXPECT_EQ(outcome.bytes(),
            std::string(static_cast<const char*>(LargeTokens().const_data_ptr()), LargeTokens().nbytes()));
}

TEST_F(VisionServerTest, LowPrecisionIsStreamedAsItIs) {
  Start([](const at::Tensor&, int) { return LargeTokens().to(at::kBFloat16); });
  const EncodeOutcome outcome = Encode();
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.messages[0].header().dtype(), v1::NUMBER_TYPE_BFLOAT16);
  EXPECT_EQ(outcome.bytes().size(), 2u * 257 * 1408);
}

TEST_F(VisionServerTest, AFailureInsideTheModelFailsThatCallAlone) {
  std::atomic<int> calls = 0;
  Start([&](const at::Tensor&, int) {
    if (calls++ == 0) throw std::runtime_error("secret of the library");
    return LargeTokens();
  });
  const absl::Status failed = Encode().status;
  EXPECT_EQ(failed.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(failed.message().find("secret"), absl::string_view::npos);
  EXPECT_TRUE(Encode().status.ok());
}

TEST_F(VisionServerTest, ALostDeviceIsSicknessAtOnceAndTheImageMayGoElsewhere) {
  Start([](const at::Tensor&, int) -> at::Tensor {
    throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 719, "CUDA error: unspecified launch failure");
  });
  EXPECT_EQ(ReasonOf(Encode().status), reason::kDeviceLost);
  EXPECT_EQ(server_->health().code(), absl::StatusCode::kUnavailable);
}

TEST_F(VisionServerTest, AModelThatAlwaysFailsIsSick) {
  Start([](const at::Tensor&, int) -> at::Tensor { throw std::runtime_error("the device is gone"); });
  EXPECT_TRUE(server_->health().ok());
  for (int i = 0; i < 2 * EngineHealth::kFailuresBeforeTrial; ++i) {
    EXPECT_EQ(Encode().status.code(), absl::StatusCode::kInternal);
  }
  EXPECT_EQ(server_->health().code(), absl::StatusCode::kUnavailable);
}

TEST_F(VisionServerTest, AModelWhoseTokensAreNeverFiniteIsSick) {
  Start([](const at::Tensor&, int) { return at::full_like(LargeTokens(), NAN); });
  for (int i = 0; i < 2 * EngineHealth::kFailuresBeforeTrial; ++i) {
    EXPECT_EQ(Encode().status.code(), absl::StatusCode::kInternal);
  }
  EXPECT_EQ(server_->health().code(), absl::StatusCode::kUnavailable);
}

TEST_F(VisionServerTest, ImagesThatMakeItFailAreNoSickness) {
  Start([](const at::Tensor& pixels, int) -> at::Tensor {
    if (pixels.any().item<bool>()) throw std::runtime_error("an image that cannot be encoded");
    return LargeTokens();
  });
  for (int i = 0; i < 2 * EngineHealth::kFailuresBeforeTrial; ++i) {
    EXPECT_EQ(Encode().status.code(), absl::StatusCode::kInternal);
  }
  EXPECT_TRUE(server_->health().ok()) << server_->health();
}

TEST_F(VisionServerTest, APassThatDoesNotEndIsSickness) {
  testing::Gate gate;
  Start(
      [&gate](const at::Tensor&, int) {
        gate.Pass();
        return LargeTokens();
      },
      64, absl::Milliseconds(50));
  auto call = EncodeInBackground();
  while (server_->health().ok()) std::this_thread::yield();
  EXPECT_EQ(server_->health().code(), absl::StatusCode::kUnavailable);
  gate.Open();
  EXPECT_TRUE(call.get().status.ok());
}

TEST_F(VisionServerTest, NoRoomOnTheDeviceEndsTheCallThatAskedForIt) {
  std::atomic<int> calls = 0;
  Start([&](const at::Tensor&, int) {
    if (calls++ % 2 == 0) throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "CUDA out of memory.");
    return LargeTokens();
  });
  const absl::Status failed = Encode().status;
  EXPECT_EQ(failed.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(failed), reason::kOutOfMemory);
  EXPECT_TRUE(Encode().status.ok());
  EXPECT_TRUE(server_->health().ok());
}

TEST_F(VisionServerTest, RefusesAtOnceWhenItsPlacesAreTaken) {
  testing::Gate gate;
  Start(
      [&](const at::Tensor&, int) {
        gate.Pass();
        return LargeTokens();
      },
      /*queue_limit=*/2);
  auto first = EncodeInBackground();
  gate.AwaitArrivals(1);
  grpc::ClientContext context;
  const auto second = stub_->EncodeImage(&context, AnotherImage());
  while (server_->calls_inside() < 2) std::this_thread::yield();

  const absl::Status refused = Encode().status;
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused), reason::kQueueFull);
  EXPECT_TRUE(RetryAfterOf(refused).has_value());

  gate.Open();
  EXPECT_TRUE(first.get().status.ok());
  v1::EncodeImageResponse message;
  while (second->Read(&message)) {
  }
  EXPECT_TRUE(second->Finish().ok());
  EXPECT_TRUE(Encode().status.ok()) << "places are free again";
}

TEST_F(VisionServerTest, AKeyThatHasAllPlacesGivesOneToAnother) {
  testing::Gate gate;
  Start(
      [&](const at::Tensor&, int) {
        gate.Pass();
        return LargeTokens();
      },
      /*queue_limit=*/4);
  const auto encode = [this](const char* key, int max_side) {
    return std::async(std::launch::async, [this, key, max_side] {
      v1::EncodeImageRequest request = request_;
      request.mutable_options()->set_max_side(max_side);
      grpc::ClientContext context;
      context.AddMetadata("diptych-key-name", key);
      return EncodeImage(*stub_, request, context).status;
    });
  };
  std::vector<std::future<absl::Status>> ada, bob;
  for (int i = 0; i < 4; ++i) {
    ada.push_back(encode("ada", 20 + i));
    while (server_->calls_inside() <= i) std::this_thread::yield();
  }
  gate.AwaitArrivals(1);
  for (int i = 0; i < 2; ++i) {
    bob.push_back(encode("bob", 24 + i));
    EXPECT_EQ(ReasonOf(ada[static_cast<size_t>(3 - i)].get()), reason::kQueueFull) << "the last that came";
  }
  EXPECT_EQ(ReasonOf(encode("bob", 26).get()), reason::kQueueFull) << "both have two";
  EXPECT_EQ(ReasonOf(encode("ada", 27).get()), reason::kQueueFull);
  gate.Open();
  for (auto& call : bob) EXPECT_TRUE(call.get().ok());
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(ada[i].get().ok());
  AwaitIdle();
}

TEST_F(VisionServerTest, ACancelledCallIsNotComputed) {
  EXPECT_TRUE(
      testing::SucceedsOnce([this] { return NotComputed([](grpc::ClientContext& context) { context.TryCancel(); }); }));
}

TEST_F(VisionServerTest, ACallWhoseDeadlinePassesInTheQueueIsNotComputed) {
  EXPECT_TRUE(testing::SucceedsOnce([this] { return NotComputed(nullptr); }));
}

TEST_F(VisionServerTest, AReaderThatGoesAwayFreesItsPlace) {
  Start([](const at::Tensor&, int) { return LargeTokens(); });
  {
    grpc::ClientContext context;
    const auto reader = stub_->EncodeImage(&context, request_);
    v1::EncodeImageResponse message;
    ASSERT_TRUE(reader->Read(&message));
    context.TryCancel();
    reader->Finish();
  }
  AwaitIdle();
  EXPECT_TRUE(Encode().status.ok());
}

TEST_F(VisionServerTest, TenCallsForOneImageTakeOnePass) {
  testing::Gate gate;
  Start([&](const at::Tensor&, int) {
    gate.Pass();
    return LargeTokens();
  });
  std::vector<std::future<EncodeOutcome>> calls;
  for (int i = 0; i < 10; ++i) calls.push_back(EncodeInBackground());
  while (server_->stats().joined_calls < 9) std::this_thread::yield();
  gate.Open();
  for (auto& call : calls) {
    const EncodeOutcome outcome = call.get();
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    EXPECT_EQ(outcome.bytes().size(), LargeTokens().nbytes());
    EXPECT_FALSE(outcome.messages.back().trailer().cache_hit());
  }
  EXPECT_EQ(server_->stats().passes, 1);
  EXPECT_EQ(server_->stats().decoded_images, 1);
  AwaitIdle();

  const EncodeOutcome again = Encode();
  ASSERT_TRUE(again.status.ok());
  const v1::VisualTokensTrailer& trailer = again.messages.back().trailer();
  EXPECT_TRUE(trailer.cache_hit());
  for (const auto& duration : {trailer.image_decode(), trailer.image_resize(), trailer.vision_queue(), trailer.vit()}) {
    EXPECT_EQ(duration.seconds(), 0);
    EXPECT_EQ(duration.nanos(), 0);
  }
  EXPECT_EQ(server_->stats().passes, 1);
}

TEST_F(VisionServerTest, ACallerWhoCancelsDoesNotEndAnothersImage) {
  testing::Gate gate;
  Start([&](const at::Tensor&, int) {
    gate.Pass();
    return LargeTokens();
  });
  grpc::ClientContext context;
  const auto first = stub_->EncodeImage(&context, request_);
  gate.AwaitArrivals(1);
  auto second = EncodeInBackground();
  while (server_->stats().joined_calls < 1) std::this_thread::yield();
  context.TryCancel();
  EXPECT_EQ(first->Finish().error_code(), grpc::StatusCode::CANCELLED);
  while (server_->calls_inside() > 1) std::this_thread::yield();
  gate.Open();
  EXPECT_TRUE(second.get().status.ok());
  EXPECT_EQ(gate.arrived(), 1);
}

TEST_F(VisionServerTest, CancelDuringThePassFreesTheCallAtOnceAndItsMemoryWithThePass) {
  testing::Gate gate;
  Start([&](const at::Tensor&, int) {
    gate.Pass();
    return LargeTokens();
  });
  grpc::ClientContext context;
  const auto call = stub_->EncodeImage(&context, request_);
  gate.AwaitArrivals(1);
  context.TryCancel();
  call->Finish();
  while (server_->calls_inside() > 0) std::this_thread::yield();
  gate.Open();
  AwaitIdle();
}

TEST_F(VisionServerTest, ANumberThatIsNotFiniteFailsItsCallAlone) {
  std::atomic<int> calls = 0;
  Start([&](const at::Tensor&, int) {
    at::Tensor tokens = LargeTokens();
    if (calls++ == 0) tokens[0][256][1407] = std::numeric_limits<float>::quiet_NaN();
    return tokens;
  });
  EXPECT_EQ(Encode().status.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(Encode().status.ok());
  AwaitIdle();
}

TEST_F(VisionServerTest, DrainLetsCallsEndAndRefusesNewOnes) {
  testing::Gate gate;
  Start([&](const at::Tensor&, int) {
    gate.Pass();
    return LargeTokens();
  });
  auto inside = EncodeInBackground();
  gate.AwaitArrivals(1);
  std::thread drain([this] { server_->Drain(); });
  absl::Status refused;
  do {
    refused = testing::EncodeImage(*stub_, {}).status;  // until the drain has begun: an empty image
  } while (refused.code() == absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(refused), reason::kDraining);
  gate.Open();
  EXPECT_TRUE(inside.get().status.ok());
  drain.join();
}

}  // namespace
}  // namespace diptych::vision
