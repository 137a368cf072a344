#include "common/containers/named_counts.h"

#include <gtest/gtest.h>

#include <optional>

namespace diptych {
namespace {

TEST(NamedCountsTest, CountsEachNameByItself) {
  NamedCounts counts;
  const auto first = counts.Add("a");
  auto second = counts.Add("a");
  EXPECT_EQ(first.count, 1);
  EXPECT_EQ(second.count, 2);
  EXPECT_EQ(counts.Add("b").count, 1);
  second.one = nullptr;
  EXPECT_EQ(counts.Add("a").count, 2);
}

TEST(NamedCountsTest, WhatIsCountedMayOutliveIt) {
  std::optional<NamedCounts> counts(std::in_place);
  auto one = counts->Add("a").one;
  counts.reset();
  one = nullptr;
}

}  // namespace
}  // namespace diptych
