#include "blip2/tokenizer/bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace diptych::blip2 {
namespace {

using ::testing::ElementsAre;

std::vector<int32_t> Merged(const MergeTable& table, std::vector<int32_t> tokens) {
  table.Apply(tokens);
  return tokens;
}

TEST(MergeTableTest, LowestRankGoesFirst) {
  MergeTable table;
  table.Add(1, 2, /*rank=*/1, /*result=*/12);
  table.Add(2, 3, /*rank=*/0, /*result=*/23);
  EXPECT_THAT(Merged(table, {1, 2, 3}), ElementsAre(1, 23));
}

TEST(MergeTableTest, LeftmostGoesFirstAmongEquals) {
  MergeTable table;
  table.Add(1, 1, /*rank=*/0, /*result=*/11);
  EXPECT_THAT(Merged(table, {1, 1, 1}), ElementsAre(11, 1));
  EXPECT_THAT(Merged(table, {1, 1, 1, 1}), ElementsAre(11, 11));
}

TEST(MergeTableTest, MergesWhatMergesHaveMade) {
  MergeTable table;
  table.Add(1, 2, 0, 12);
  table.Add(12, 12, 1, 1212);
  table.Add(1212, 3, 2, 9);
  EXPECT_THAT(Merged(table, {1, 2, 1, 2, 3}), ElementsAre(9));
  EXPECT_THAT(Merged(table, {3, 1, 2, 1, 2, 3, 1, 2}), ElementsAre(3, 9, 12));
}

TEST(MergeTableTest, AMergeMayMakeATokenThatItMergesAgain) {
  MergeTable table;
  table.Add(1, 1, 0, 1);
  EXPECT_THAT(Merged(table, {1, 1, 1, 1, 1}), ElementsAre(1));
}

TEST(MergeTableTest, LeavesOneTokenAndNoneAlone) {
  MergeTable table;
  table.Add(1, 1, 0, 2);
  EXPECT_THAT(Merged(table, {1}), ElementsAre(1));
  EXPECT_THAT(Merged(table, {}), ElementsAre());
}

TEST(MergeTableTest, RefusesAPairTwice) {
  MergeTable table;
  EXPECT_TRUE(table.Add(1, 2, 0, 3));
  EXPECT_FALSE(table.Add(1, 2, 1, 4));
  EXPECT_TRUE(table.Add(2, 1, 1, 4));
}

}  // namespace
}  // namespace diptych::blip2
