#include "vision_service/pixel_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace diptych::vision {
namespace {

absl::Status GoOn() {
  return absl::OkStatus();
}

TEST(PixelBudgetTest, GivesWhatIsFreeAtOnce) {
  PixelBudget budget(100);
  EXPECT_TRUE(budget.Take(60, GoOn).ok());
  EXPECT_TRUE(budget.Take(40, GoOn).ok());
}

TEST(PixelBudgetTest, ImageOverTheBudgetIsTakenAlone) {
  PixelBudget budget(100);
  EXPECT_TRUE(budget.Take(500, GoOn).ok());
  EXPECT_EQ(budget.Take(1, [] { return absl::CancelledError("left"); }), absl::CancelledError("left"));
  budget.GiveBack(500);
  EXPECT_TRUE(budget.Take(1, GoOn).ok());
}

TEST(PixelBudgetTest, WhoStopsWaitingIsInNobodysWay) {
  PixelBudget budget(100);
  ASSERT_TRUE(budget.Take(60, GoOn).ok());
  EXPECT_FALSE(budget.Take(60, [] { return absl::DeadlineExceededError(""); }).ok());
  EXPECT_TRUE(budget.Take(40, GoOn).ok());
}

TEST(PixelBudgetTest, NeverHasMoreInDecodingThanThereIs) {
  PixelBudget budget(100);
  std::atomic<int> inside = 0;
  std::atomic<bool> exceeded = false;
  std::vector<std::thread> workers;
  for (int i = 0; i < 8; ++i) {
    workers.emplace_back([&] {
      for (int j = 0; j < 50; ++j) {
        ASSERT_TRUE(budget.Take(40, GoOn).ok());
        if (++inside > 2) exceeded = true;
        --inside;
        budget.GiveBack(40);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_FALSE(exceeded);
}

// Whoever comes later must not take small pieces for ever before one who waits for a large one.
TEST(PixelBudgetTest, FirstComeFirstServed) {
  PixelBudget budget(100);
  ASSERT_TRUE(budget.Take(60, GoOn).ok());
  std::atomic<bool> waits = false, served = false;
  std::thread large([&] {
    EXPECT_TRUE(budget.Take(100, [&] { return waits = true, absl::OkStatus(); }).ok());
    served = true;
    budget.GiveBack(100);
  });
  while (!waits) std::this_thread::yield();
  EXPECT_FALSE(budget.Take(10, [] { return absl::CancelledError(""); }).ok());
  EXPECT_FALSE(served);
  budget.GiveBack(60);
  large.join();
  EXPECT_TRUE(served);
}

}  // namespace
}  // namespace diptych::vision
