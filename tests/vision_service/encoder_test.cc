// Cache, single flight, batches, failures and memory, without a wire.
#include "vision_service/encoder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <future>
#include <limits>
#include <random>
#include <set>
#include <thread>

#include "common/status.h"
#include "tests/testing/gate.h"
#include "tests/testing/sample_images.h"

namespace diptych::vision {
namespace {

using Outcome = absl::StatusOr<EncodeResult>;

// Tokens [B, 2, 3] that tell images of 28 pixels apart.
at::Tensor TokensOf(const at::Tensor& pixels, int /*merging*/ = 0) {
  return pixels.reshape({-1, 2, 3, 3 * 28 * 28 / 6}).mean(3);
}

class EncoderTest : public ::testing::Test {
 protected:
  struct Caller {
    std::shared_ptr<EncodeWaiter> waiter;
    std::future<Outcome> outcome;
    absl::Status accepted;
  };

  void Start(ServedVisionModel::Encode encode, VisionOptions options = {}, int visual_tokens = 2) {
    ServedVisionModel model;
    model.description.set_fingerprint("f00d");
    model.description.set_dtype("float32");
    model.description.set_patch_size(14);
    model.description.set_image_size(28);
    model.description.set_visual_width(1000);
    model.description.set_visual_tokens(visual_tokens);
    model.encode = std::move(encode);
    encoder_ = std::make_unique<Encoder>(options, model);
  }
  // The model waits at the gate in each pass.
  void StartHeld(VisionOptions options = {}, int visual_tokens = 2) {
    Start(
        [this](const at::Tensor& pixels, int) {
          gate_.Pass();
          return TokensOf(pixels);
        },
        options, visual_tokens);
  }

  // Asks for the image shrunk to `side` first: another image for each side.
  Caller Ask(int side, SteadyTime deadline = SteadyTime::max(), v1::NumberType dtype = v1::NUMBER_TYPE_UNSPECIFIED) {
    auto promise = std::make_shared<std::promise<Outcome>>();
    Caller caller{.waiter = std::make_shared<EncodeWaiter>(), .outcome = promise->get_future(), .accepted = {}};
    caller.waiter->arrival = SteadyClock::now();
    caller.waiter->deadline = deadline;
    caller.waiter->done = [promise](Outcome outcome) { promise->set_value(std::move(outcome)); };
    auto memory = encoder_->memory().Take(static_cast<int64_t>(png_.size()));
    if (!memory.ok()) {
      caller.accepted = memory.status();
      return caller;
    }
    caller.accepted = encoder_->Encode({.encoded = png_,
                                        .preparation = {.image_size = 28, .max_side = side},
                                        .memory = *std::move(memory),
                                        .dtype = dtype},
                                       caller.waiter);
    return caller;
  }
  Outcome AskAs(v1::NumberType dtype) { return Ask(8, SteadyTime::max(), dtype).outcome.get(); }

  // One image that is in a pass, and so many others that wait behind it: of the sides 8, 9, … The model waits at the
  // gate.
  std::vector<Caller> AskForOneAndOthers(int others) {
    std::vector<Caller> callers;
    callers.push_back(Ask(8));
    gate_.AwaitArrivals(1);
    for (int side = 9; side < 9 + others; ++side) callers.push_back(Ask(side));
    AwaitInEngine(others);
    return callers;
  }

  // With one image in a pass: until so many others wait behind it.
  void AwaitInEngine(int images) {
    while (encoder_->stats().decoded_images < images + 1 || encoder_->stats().images_waiting < images) {
      std::this_thread::yield();
    }
  }

  // All memory and all places are free.
  void ExpectIdle() {
    while (encoder_->stats().inflight_bytes > 0) std::this_thread::yield();
    const VisionStats stats = encoder_->stats();
    EXPECT_EQ(stats.images_waiting, 0);
    EXPECT_EQ(stats.images_decoding, 0);
  }

  const std::string png_ = testing::GoodPng();
  testing::Gate gate_;
  std::unique_ptr<Encoder> encoder_;
};

TEST_F(EncoderTest, ASecondCallerGetsTheImageFromTheCache) {
  Start(TokensOf);
  const Outcome first = Ask(8).outcome.get();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->cache_hit);
  EXPECT_GT(first->timings.image_decode, SteadyDuration::zero());
  EXPECT_GT(first->timings.vit, SteadyDuration::zero());

  const Outcome second = Ask(8).outcome.get();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->cache_hit);
  EXPECT_EQ(second->image, first->image) << "one buffer";
  EXPECT_EQ(second->timings.image_decode, SteadyDuration::zero());
  EXPECT_EQ(second->timings.image_resize, SteadyDuration::zero());
  EXPECT_EQ(second->timings.queue, SteadyDuration::zero());
  EXPECT_EQ(second->timings.vit, SteadyDuration::zero());

  const VisionStats stats = encoder_->stats();
  EXPECT_EQ(stats.cache_queries, 2);
  EXPECT_EQ(stats.cache_hits, 1);
  EXPECT_EQ(stats.passes, 1);
  EXPECT_EQ(stats.decoded_images, 1);
  EXPECT_EQ(stats.visual_tokens, 2);
  EXPECT_EQ(stats.cached_images, 1);
  EXPECT_EQ(stats.cache_bytes, 2 * 3 * 4);
}

TEST_F(EncoderTest, TheCacheForgetsWhatWasNotAskedForLongest) {
  Start(TokensOf, {.cache_bytes = 2 * 2 * 3 * 4});
  for (const int side : {8, 9, 8, 10}) ASSERT_TRUE(Ask(side).outcome.get().ok());
  EXPECT_EQ(encoder_->stats().cached_images, 2);
  EXPECT_TRUE(Ask(8).outcome.get()->cache_hit);
  EXPECT_FALSE(Ask(9).outcome.get()->cache_hit);
}

TEST_F(EncoderTest, AnImageInOtherNumbersIsAnotherEntry) {
  Start(TokensOf);
  const Outcome plain = AskAs(v1::NUMBER_TYPE_UNSPECIFIED), bytes = AskAs(v1::NUMBER_TYPE_INT8);
  ASSERT_TRUE(plain.ok() && bytes.ok());
  EXPECT_FALSE(bytes->cache_hit);
  EXPECT_EQ(bytes->image->dtype(), v1::NUMBER_TYPE_INT8);
  EXPECT_EQ(bytes->image->image_key(), plain->image->image_key()) << "the same image";
  EXPECT_EQ(AskAs(v1::NUMBER_TYPE_INT8)->image, bytes->image);
  EXPECT_EQ(encoder_->stats().cache_bytes, 2 * 3 * 4 + (4 + 2) * 3);
  for (const int same : {1, -7, 77}) {  // what it is computed in, and what nobody knows
    EXPECT_EQ(AskAs(static_cast<v1::NumberType>(same))->image, plain->image) << same;
  }
  EXPECT_EQ(encoder_->stats().passes, 2);
}

TEST_F(EncoderTest, WithoutACacheEachCallIsComputed) {
  Start(TokensOf, {.cache_bytes = 0});
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Ask(8).outcome.get()->cache_hit);
  EXPECT_EQ(encoder_->stats().passes, 3);
  ExpectIdle();
}

TEST_F(EncoderTest, CallersOfOneImageInFlightShareOneDecodeAndOnePass) {
  StartHeld({.cache_bytes = 0});
  std::vector<Caller> callers;
  callers.push_back(Ask(8));
  gate_.AwaitArrivals(1);
  for (int i = 0; i < 9; ++i) callers.push_back(Ask(8));
  gate_.Open();
  std::shared_ptr<const VisualTokens> image;
  for (Caller& caller : callers) {
    const Outcome outcome = caller.outcome.get();
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_FALSE(outcome->cache_hit);
    if (image != nullptr) {
      EXPECT_EQ(outcome->image, image);
    }
    image = outcome->image;
  }
  EXPECT_EQ(encoder_->stats().passes, 1);
  EXPECT_EQ(encoder_->stats().decoded_images, 1);
  EXPECT_EQ(encoder_->stats().joined_calls, 9);
}

TEST_F(EncoderTest, ACallerThatLeavesDoesNotEndTheOthersWork) {
  StartHeld();
  Caller blocker = Ask(8);
  gate_.AwaitArrivals(1);
  Caller first = Ask(9), second = Ask(9);
  AwaitInEngine(1);
  EXPECT_TRUE(encoder_->StopWaiting(first.waiter));
  EXPECT_FALSE(encoder_->StopWaiting(first.waiter)) << "it has left";
  EXPECT_EQ(encoder_->stats().images_waiting, 1);
  gate_.Open();
  EXPECT_TRUE(second.outcome.get().ok());
  EXPECT_FALSE(encoder_->StopWaiting(second.waiter)) << "it has its outcome";
  EXPECT_EQ(encoder_->stats().abandoned_images, 0);
}

TEST_F(EncoderTest, TheLastCallerThatLeavesTakesTheImageOutOfTheEngineAtOnce) {
  StartHeld();
  Caller blocker = Ask(8);
  gate_.AwaitArrivals(1);
  const int64_t before = encoder_->stats().inflight_bytes;
  Caller first = Ask(9), second = Ask(9);
  AwaitInEngine(1);
  EXPECT_GT(encoder_->stats().inflight_bytes, before);
  EXPECT_TRUE(encoder_->StopWaiting(first.waiter));
  EXPECT_TRUE(encoder_->StopWaiting(second.waiter));
  EXPECT_EQ(encoder_->stats().images_waiting, 0);
  EXPECT_EQ(encoder_->stats().inflight_bytes, before);
  EXPECT_EQ(encoder_->stats().abandoned_images, 1);
  gate_.Open();
  EXPECT_TRUE(blocker.outcome.get().ok());
  EXPECT_TRUE(Ask(9).outcome.get().ok()) << "it can be asked for again";
  EXPECT_EQ(encoder_->stats().encoded_images, 2);
  ExpectIdle();
}

TEST_F(EncoderTest, WhatIsLeftDuringItsPassIsRememberedAllTheSame) {
  StartHeld();
  Caller caller = Ask(8);
  gate_.AwaitArrivals(1);
  EXPECT_TRUE(encoder_->StopWaiting(caller.waiter));
  gate_.Open();
  while (encoder_->stats().cached_images == 0) std::this_thread::yield();
  EXPECT_TRUE(Ask(8).outcome.get()->cache_hit);
  ExpectIdle();
}

TEST_F(EncoderTest, ACallThatExpiresInTheQueueIsNotComputed) {
  StartHeld();
  Caller blocker = Ask(8);
  gate_.AwaitArrivals(1);
  Caller late = Ask(9, SteadyClock::now() + std::chrono::milliseconds(50));
  while (SteadyClock::now() < late.waiter->deadline) std::this_thread::yield();
  gate_.Open();
  EXPECT_EQ(late.outcome.get().status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(blocker.outcome.get().ok());
  EXPECT_EQ(encoder_->stats().encoded_images, 1);
  ExpectIdle();
}

TEST_F(EncoderTest, ALaterDeadlineOfOneThatJoinsKeepsTheImage) {
  StartHeld();
  Caller blocker = Ask(8);
  gate_.AwaitArrivals(1);
  Caller early = Ask(9, SteadyClock::now() + std::chrono::milliseconds(20));
  Caller later = Ask(9);
  while (SteadyClock::now() < early.waiter->deadline) std::this_thread::yield();
  gate_.Open();
  EXPECT_TRUE(later.outcome.get().ok());
}

TEST_F(EncoderTest, WhatWaitsIsComputedTogether) {
  StartHeld({.max_batch = 4});
  std::vector<Caller> callers = AskForOneAndOthers(6);
  gate_.Open();
  std::set<std::string> contents;
  for (Caller& caller : callers) contents.insert(std::string((*caller.outcome.get()).image->bytes()));
  EXPECT_EQ(contents.size(), 7u) << "each caller has its own image";
  const VisionStats stats = encoder_->stats();
  EXPECT_EQ(stats.passes, 3) << "of one, four and two";
  EXPECT_EQ(stats.encoded_images, 7);
  EXPECT_EQ(stats.passes_by_batch_size[0], 1);
  EXPECT_EQ(stats.passes_by_batch_size[1], 1);
  EXPECT_EQ(stats.passes_by_batch_size[2], 1);
}

TEST_F(EncoderTest, ImagesOfManyTokensShareAPassAsFarAsTheCachesOfTheCpuReach) {
  StartHeld({.device = "cpu"}, /*visual_tokens=*/257);
  std::vector<Caller> callers = AskForOneAndOthers(4);
  gate_.Open();
  for (Caller& caller : callers) EXPECT_TRUE(caller.outcome.get().ok());
  EXPECT_EQ(encoder_->stats().passes, 3) << "of one, two and two";
}

TEST(MaxBatchTest, IsChosenByTheTokensOfAnImage) {
  EXPECT_EQ(tier_defaults::VisionBatch("cpu", 257), 2);
  EXPECT_EQ(tier_defaults::VisionBatch("cpu", 65), 8);
  EXPECT_EQ(tier_defaults::VisionBatch("cpu", 5330), 1);
  EXPECT_EQ(tier_defaults::VisionBatch("cuda:1", 257), 32);
  EXPECT_EQ(VisionOptions{.max_batch = 5}.MaxBatch(257), 5);
}

TEST_F(EncoderTest, AImageThatThrowsFailsAlone) {
  // Images are told apart by their pixels: the second of the batch is the culprit.
  at::Tensor culprit;
  Start([&](const at::Tensor& pixels, int) {
    gate_.Pass();
    if (pixels.size(0) > 1) culprit = pixels[1].clone();
    for (int64_t i = 0; i < pixels.size(0); ++i) {
      if (culprit.defined() && pixels[i].equal(culprit)) throw std::runtime_error("secret of the library");
    }
    return TokensOf(pixels);
  });
  std::vector<Caller> callers = AskForOneAndOthers(4);
  gate_.Open();
  int failed = 0;
  for (Caller& caller : callers) {
    const Outcome outcome = caller.outcome.get();
    if (outcome.ok()) continue;
    ++failed;
    EXPECT_EQ(outcome.status().code(), absl::StatusCode::kInternal);
    EXPECT_EQ(outcome.status().message().find("secret"), absl::string_view::npos);
  }
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(encoder_->stats().failed_images, 1);
  EXPECT_TRUE(Ask(20).outcome.get().ok()) << "the engine goes on";
  ExpectIdle();
}

TEST_F(EncoderTest, NumbersThatAreNotFiniteFailTheirImageAndAreNotRemembered) {
  bool poison = true;
  Start([&](const at::Tensor& pixels, int) {
    gate_.Pass();
    at::Tensor tokens = TokensOf(pixels).clone();
    if (pixels.size(0) > 1 && poison) tokens[2][1][1] = std::numeric_limits<float>::quiet_NaN();
    return tokens;
  });
  std::vector<Caller> callers = AskForOneAndOthers(4);
  gate_.Open();
  int bad_side = 0, failed = 0;
  for (size_t i = 0; i < callers.size(); ++i) {
    const Outcome outcome = callers[i].outcome.get();
    if (outcome.ok()) continue;
    EXPECT_EQ(outcome.status().code(), absl::StatusCode::kInternal);
    bad_side = 8 + static_cast<int>(i);
    ++failed;
  }
  EXPECT_EQ(failed, 1);
  poison = false;
  const Outcome again = Ask(bad_side).outcome.get();
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->cache_hit);
}

TEST_F(EncoderTest, TokensOfAWrongShapeAreAnError) {
  for (const auto& shape : {std::vector<int64_t>{2, 2, 3}, {2, 3}, {1, 0, 3}}) {
    Start([&](const at::Tensor&, int) { return at::zeros(shape); });
    EXPECT_EQ(Ask(8).outcome.get().status().code(), absl::StatusCode::kInternal);
  }
}

TEST_F(EncoderTest, RefusesAtOnceWhenTheMemoryIsTaken) {
  const int64_t limit = 2 * (3 * 28 * 28 * 4 + 5 * 4000) + static_cast<int64_t>(png_.size());
  StartHeld({.max_inflight_bytes = limit});
  Caller first = Ask(8);
  gate_.AwaitArrivals(1);
  Caller second = Ask(9);
  AwaitInEngine(1);
  const absl::Status refused = Ask(10).accepted;
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused), reason::kQueueFull);
  EXPECT_TRUE(RetryAfterOf(refused).has_value());
  EXPECT_LE(encoder_->stats().inflight_bytes, limit);
  Caller joined = Ask(9);
  EXPECT_TRUE(joined.accepted.ok()) << "an image in flight takes no more memory";
  gate_.Open();
  EXPECT_TRUE(first.outcome.get().ok());
  EXPECT_TRUE(joined.outcome.get().ok());
  EXPECT_TRUE(second.outcome.get().ok());
  EXPECT_TRUE(Ask(8).outcome.get().ok());
  EXPECT_TRUE(Ask(12).outcome.get().ok()) << "there is room again";
  ExpectIdle();
}

TEST_F(EncoderTest, TokensStayReservedUntilTheyAreSent) {
  Start(TokensOf);
  Outcome outcome = Ask(8).outcome.get();
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(encoder_->stats().inflight_bytes, 2 * 3 * 4);
  outcome->memory = nullptr;
  ExpectIdle();
}

TEST_F(EncoderTest, RacingCallersAllEndAndNothingIsLeftBehind) {
  Start(TokensOf, {.image_workers = 2, .max_batch = 4, .cache_bytes = 5 * 24});
  std::atomic<int> answers = 0, left = 0;
  const auto race = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 200; ++i) {
      Caller caller = Ask(8 + static_cast<int>(random() % 8));
      ASSERT_TRUE(caller.accepted.ok());
      // Few wait long: on a busy machine each turn may cost a time slice of another program's.
      const unsigned longest = random() % 10 == 0 ? 400 : 20;
      for (unsigned spin = random() % longest; spin > 0; --spin) std::this_thread::yield();
      if (random() % 2 == 0 && encoder_->StopWaiting(caller.waiter)) {
        ++left;
      } else {
        EXPECT_TRUE(caller.outcome.get().ok());
        ++answers;
      }
    }
  };
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) threads.emplace_back(race, seed);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answers + left, 800);
  ExpectIdle();
  const VisionStats stats = encoder_->stats();
  EXPECT_EQ(stats.cache_queries, 800);
  EXPECT_LE(stats.cache_bytes, 5 * 24);
  EXPECT_LE(stats.cache_hits + stats.joined_calls + stats.encoded_images, 800);
}

}  // namespace
}  // namespace diptych::vision
