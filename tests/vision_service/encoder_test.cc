// Cache, single flight, deadlines and memory, without a wire.
#include "vision_service/encoder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <random>
#include <thread>

#include "common/status.h"
#include "tests/vision_service/encoder_fixture.h"

namespace diptych::vision {
namespace {

using testing::EncoderTest;
using testing::Outcome;
using testing::TokensOf;

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

TEST_F(EncoderTest, ForACardTheImageWorkersPinThePixels) {
  pin_ = [](const at::Tensor& pixels) { return at::full_like(pixels, 0.5); };
  Start([](const at::Tensor& pixels, int) {
    EXPECT_TRUE(pixels.eq(0.5).all().item<bool>());
    return TokensOf(pixels);
  });
  EXPECT_TRUE(Ask(8).outcome.get().ok());
}

TEST_F(EncoderTest, AnImageForWhichNothingCanBePinnedIsTheOnlyOneThatFails) {
  pin_ = [](const at::Tensor& pixels) -> at::Tensor {
    if (pixels.numel() > 0) throw std::bad_alloc();
    return pixels;
  };
  Start(TokensOf);
  const Outcome outcome = Ask(8).outcome.get();
  EXPECT_EQ(outcome.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(outcome.status()), reason::kOutOfMemory);
  ExpectIdle();
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
