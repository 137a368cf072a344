#include "vision_service/image_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

namespace diptych::vision {
namespace {

// Jobs are told apart by their number of pixels.
class ImageQueueTest : public ::testing::Test {
 protected:
  static constexpr int64_t kPixels = 1600, kSmall = 100, kLarge = 1000;

  std::shared_ptr<EncodeJob> Push(int64_t pixels, const char* caller = "") {
    auto job = std::make_shared<EncodeJob>();
    job->token_bytes = pixels;
    job->caller = caller;
    EXPECT_TRUE(queue_.TryPush(job, pixels));
    return job;
  }
  ImageQueue::Turn Pop() { return *queue_.Pop(); }
  // Decodes the next one.
  int64_t PopAndDecode() { return Pop().job->token_bytes; }

  ImageQueue queue_{100, kPixels};
};

TEST_F(ImageQueueTest, ASmallImageWaitsForNoneOfTheManyLargeOnesBeforeIt) {
  for (int i = 0; i < 40; ++i) Push(kLarge);
  const ImageQueue::Turn first = Pop();
  Push(kSmall);
  EXPECT_EQ(PopAndDecode(), kSmall);
  EXPECT_EQ(queue_.size(), 39u);
}

TEST_F(ImageQueueTest, EachSizeGetsTheSamePixels) {
  for (int i = 0; i < 50; ++i) Push(kSmall);
  for (int i = 0; i < 5; ++i) Push(kLarge);
  int64_t small = 0, large = 0;
  while (queue_.size() > 0) {
    const int64_t pixels = PopAndDecode();
    (pixels == kSmall ? small : large) += pixels;
    EXPECT_LE(std::abs(small - large), kLarge);
  }
}

TEST_F(ImageQueueTest, CallersOfOneSizeTakeTurns) {
  for (int i = 0; i < 40; ++i) Push(kLarge, "ada");
  EXPECT_EQ(Pop().job->caller, "ada");
  for (int i = 0; i < 2; ++i) Push(kLarge, "bob");
  int of_bob = 0;
  for (int i = 0; i < 4; ++i) of_bob += Pop().job->caller == "bob";
  EXPECT_EQ(of_bob, 2);
}

TEST_F(ImageQueueTest, ACallerOfManySizesGetsNoMoreThanOneOfOne) {
  for (int i = 0; i < 8; ++i) {
    for (const int64_t pixels : {70, 140, 270, 530, 1050}) Push(pixels, "ada");
    Push(kLarge, "bob");
  }
  int64_t ada = 0, bob = 0;
  while (bob < 8 * kLarge) {
    const ImageQueue::Turn turn = Pop();
    (turn.job->caller == "ada" ? ada : bob) += turn.job->token_bytes;
    ASSERT_LE(std::abs(ada - bob), 1050 + kLarge);
  }
}

TEST_F(ImageQueueTest, ACallerWhoKeepsOnlyOneWaitingGetsNoMoreThanItsShare) {
  for (int i = 0; i < 40; ++i) Push(kSmall, "bob");
  int of_bob = 0, of_ada = 0;
  for (Push(kLarge, "ada"); of_bob < 20;) {
    const bool is_ada = Pop().job->caller == "ada";
    ++(is_ada ? of_ada : of_bob);
    if (is_ada) Push(kLarge, "ada");
  }
  EXPECT_LE(of_ada, 3);
}

TEST_F(ImageQueueTest, WhoComesAfterAPauseHasNotSavedUpForIt) {
  for (int i = 0; i < 50; ++i) Push(kSmall);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(PopAndDecode(), kSmall);
  for (int i = 0; i < 4; ++i) Push(kLarge);
  int64_t large = 0;
  for (int i = 0; i < 4; ++i) large += PopAndDecode() == kLarge;
  EXPECT_EQ(large, 1);
}

TEST_F(ImageQueueTest, WhoKeepsOnlyOneWaitingGetsNoMoreThanItsShare) {
  int64_t small = 0, large = 0;
  for (int i = 0; i < 40; ++i) Push(kSmall);
  for (Push(kLarge); small < 20;) {
    const bool is_large = PopAndDecode() == kLarge;
    ++(is_large ? large : small);
    if (is_large) Push(kLarge);
  }
  EXPECT_LE(large, 3);
}

TEST_F(ImageQueueTest, ALargeImageThatWaitsForPixelsIsPassedBySmallOnesOnly) {
  Push(200);
  EXPECT_EQ(PopAndDecode(), 200);
  Push(900);
  {
    const ImageQueue::Turn decoding = Pop();
    Push(kPixels);
    Push(200);  // there would be room for it
    for (int i = 0; i < 3; ++i) {
      Push(kSmall);
      EXPECT_EQ(PopAndDecode(), kSmall);
    }
  }
  EXPECT_EQ(PopAndDecode(), kPixels);
  EXPECT_EQ(PopAndDecode(), 200);
}

TEST_F(ImageQueueTest, AnImageOfMorePixelsThanThereAreIsDecodedAlone) {
  Push(5 * kPixels);
  EXPECT_EQ(PopAndDecode(), 5 * kPixels);
}

TEST_F(ImageQueueTest, RefusesWhenFullOrClosed) {
  ImageQueue queue(1, kPixels);
  EXPECT_TRUE(queue.TryPush(std::make_shared<EncodeJob>(), 1));
  EXPECT_FALSE(queue.TryPush(std::make_shared<EncodeJob>(), 1));
  queue.Close();
  EXPECT_TRUE(queue.Pop().has_value());
  EXPECT_FALSE(queue.TryPush(std::make_shared<EncodeJob>(), 1));
  EXPECT_FALSE(queue.Pop().has_value());
}

TEST_F(ImageQueueTest, WhoIsRemovedIsInNobodysWay) {
  const auto large = Push(kLarge);
  queue_.Remove(*large);
  EXPECT_EQ(queue_.size(), 0u);
  Push(kLarge + 1);
  EXPECT_EQ(PopAndDecode(), kLarge + 1);
}

TEST_F(ImageQueueTest, NeverHasMoreInDecodingThanThereIs) {
  for (int i = 0; i < 50; ++i) Push(600), Push(kSmall);
  std::atomic<int64_t> large = 0, small = 0, done = 0;
  std::atomic<bool> exceeded = false;
  queue_.Close();
  std::vector<std::thread> workers;
  for (int i = 0; i < 24; ++i) {
    workers.emplace_back([&] {
      while (const auto turn = queue_.Pop()) {
        const int64_t pixels = turn->job->token_bytes;
        std::atomic<int64_t>& decoding = pixels == kSmall ? small : large;
        if ((decoding += pixels) > kPixels) exceeded = true;
        std::this_thread::yield();
        decoding -= pixels;
        ++done;
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(done, 100);
  EXPECT_FALSE(exceeded);
}

}  // namespace
}  // namespace diptych::vision
