#include "cli/measurements/in_order.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace diptych::cli {
namespace {

TEST(InOrderTest, AwaitsEachInOrderAndOneAtATimeBeforeItsWork) {
  constexpr size_t kCount = 200;
  std::vector<size_t> awaited;  // without a lock: one at a time
  std::vector<std::atomic<bool>> ready(kCount);
  std::atomic<int> too_early = 0;
  std::vector<size_t> emitted;
  ForEachInOrder<size_t>(
      kCount, /*workers=*/8,
      [&](size_t i) {
        awaited.push_back(i);
        ready[i] = true;
      },
      [&](size_t i) {
        if (!ready[i]) ++too_early;
        return 2 * i;
      },
      [&](size_t i, size_t result) {
        EXPECT_EQ(result, 2 * i);
        emitted.push_back(i);
      });
  std::vector<size_t> all(kCount);
  for (size_t i = 0; i < kCount; ++i) all[i] = i;
  EXPECT_EQ(awaited, all);
  EXPECT_EQ(emitted, all);
  EXPECT_EQ(too_early, 0);
}

TEST(InOrderTest, OneThatTakesLongHoldsNoOtherUp) {
  std::atomic<int> done = 0;
  ForEachInOrder<int>(
      9, /*workers=*/2,
      [&](size_t i) {
        while (i == 0 && done < 8) std::this_thread::yield();
        return ++done;
      },
      [](size_t, int) {});
  EXPECT_EQ(done, 9);
}

}  // namespace
}  // namespace diptych::cli
