#include "gateway/tiers/retry_budget.h"

#include <gtest/gtest.h>

namespace diptych::gateway {
namespace {

using std::chrono::seconds;

constexpr SteadyTime kMidday(std::chrono::hours(12));

int Repeats(RetryBudget& budget, SteadyTime now) {
  int repeats = 0;
  while (budget.TryRepeat(now)) ++repeats;
  return repeats;
}

TEST(RetryBudgetTest, ALostReplicaCostsNobodyButAFailingTierIsNotAskedForLong) {
  RetryBudget budget(100);
  EXPECT_EQ(Repeats(budget, kMidday), 100);
  for (int i = 0; i < 50; ++i) budget.OnRequest(kMidday);
  EXPECT_NEAR(Repeats(budget, kMidday), 10, 1) << "a fifth of the traffic";
}

TEST(RetryBudgetTest, ComesBackWithTimeUpToItsReserve) {
  RetryBudget budget(10);
  Repeats(budget, kMidday);
  EXPECT_EQ(Repeats(budget, kMidday + seconds(4)), 4);
  EXPECT_EQ(Repeats(budget, kMidday + seconds(1000)), 10);
}

}  // namespace
}  // namespace diptych::gateway
