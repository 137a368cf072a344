#include "common/containers/byte_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "common/status.h"

namespace diptych {
namespace {

TEST(ByteBudgetTest, RefusesOverItsLimitAndSaysWhenToRetry) {
  ByteBudget budget(100);
  const auto most = budget.Take(60);
  ASSERT_TRUE(most.ok()) << most.status();
  const auto refused = budget.Take(41);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused.status()), reason::kQueueFull);
  EXPECT_TRUE(RetryAfterOf(refused.status()).has_value());
  EXPECT_EQ(budget.taken(), 60) << "a refusal takes nothing";
  EXPECT_TRUE(budget.Take(40).ok()) << "the limit itself is allowed";
}

TEST(ByteBudgetTest, ALeaseThatIsGoneGivesBackWhatItHeld) {
  ByteBudget budget(100);
  {
    auto lease = budget.Take(70);
    ASSERT_TRUE(lease.ok());
    const ByteBudget::Lease moved = *std::move(lease);
    EXPECT_EQ(moved.bytes(), 70);
    EXPECT_EQ(budget.taken(), 70) << "moving takes nothing";
  }
  EXPECT_EQ(budget.taken(), 0);
}

TEST(ByteBudgetTest, AnAssignedLeaseGivesBackItsFormerBytes) {
  ByteBudget budget(100);
  ByteBudget::Lease lease = *budget.Take(70);
  lease = *budget.Take(30);
  EXPECT_EQ(budget.taken(), 30);
  lease.Release();
  lease.Release();
  EXPECT_EQ(budget.taken(), 0);
}

TEST(ByteBudgetTest, ALeaseGrowsAndShrinks) {
  ByteBudget budget(100);
  ByteBudget::Lease lease = *budget.Take(50);
  EXPECT_TRUE(lease.Grow(50).ok());
  EXPECT_EQ(lease.Grow(1).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(lease.bytes(), 100);
  lease.ShrinkTo(20);
  EXPECT_EQ(budget.taken(), 20);
  lease.ShrinkTo(60);
  EXPECT_EQ(budget.taken(), 20) << "shrinking never takes";
}

TEST(ByteBudgetTest, APartMayOutliveTheRest) {
  ByteBudget budget(100);
  ByteBudget::Lease whole = *budget.Take(80);
  ByteBudget::Lease part = whole.Split(50);
  const ByteBudget::Lease too_much = whole.Split(1000);
  EXPECT_EQ(too_much.bytes(), 30);
  EXPECT_EQ(whole.bytes(), 0);
  whole.Release();
  EXPECT_EQ(budget.taken(), 80);
  part.Release();
  EXPECT_EQ(budget.taken(), 30);
}

TEST(ByteBudgetTest, AnEmptyLeaseHoldsNothing) {
  ByteBudget::Lease lease;
  lease.ShrinkTo(5);
  EXPECT_EQ(lease.Split(5).bytes(), 0);
  EXPECT_EQ(lease.bytes(), 0);
}

TEST(ByteBudgetTest, ManyThreadsNeverTakeMoreThanTheLimit) {
  ByteBudget budget(10);
  std::atomic<bool> exceeded = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 1000; ++k) {
        auto lease = budget.Take(k % 7);
        if (lease.ok() && lease->Grow(2).ok()) lease->Split(1);
        if (budget.taken() > budget.limit()) exceeded = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(exceeded);
  EXPECT_EQ(budget.taken(), 0);
}

TEST(ByteBudgetsTest, ANameHasOneBudgetAsLongAsAnybodyHoldsIt) {
  ByteBudgets budgets(10);
  auto of_alice = budgets.Of("alice");
  const auto lease = of_alice->Take(8);
  EXPECT_FALSE(budgets.Of("alice")->Take(3).ok());
  EXPECT_TRUE(budgets.Of("bob")->Take(10).ok());
  EXPECT_EQ(budgets.Of("alice"), of_alice);
}

}  // namespace
}  // namespace diptych
