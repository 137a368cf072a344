// KV blocks between sequences: preemption, shared prefixes, beams.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "language_service/engine/scheduler.h"
#include "tests/language_service/engine/puppet_engine.h"

namespace diptych::language {
namespace {

using testing::kStart;
using testing::Prompt;
using testing::PuppetEngine;
using testing::SmallOptions;
using testing::TokensOf;

TEST(SchedulerBlocksTest, TheYoungestGivesWayWhenBlocksRunOutAndEndsAllTheSame) {
  SchedulerOptions options = SmallOptions();
  options.blocks = 10;
  PuppetEngine puppet(options);
  const uint64_t oldest = puppet.Add(Prompt(8, 1), 24);
  const uint64_t middle = puppet.Add(Prompt(8, 2), 24);
  const uint64_t youngest = puppet.Add(Prompt(4, 3), 24);
  puppet.RunToEnd();
  EXPECT_GT(puppet.scheduler.counts().preemptions, 0);
  EXPECT_EQ(puppet.finished, (std::vector<uint64_t>{oldest, middle, youngest}));
}

TEST(SchedulerBlocksTest, APreemptedSequenceFindsWhatItComputedBefore) {
  SchedulerOptions options = SmallOptions();
  PuppetEngine puppet(options);
  const uint64_t id = puppet.Add(Prompt(10, 1), 10);
  for (int i = 0; i < 4; ++i) puppet.Step();  // 10 + 3 tokens are computed: 3 blocks
  puppet.scheduler.Pause(id);
  EXPECT_TRUE(puppet.Step().empty());
  EXPECT_EQ(puppet.scheduler.counts().blocks_held, 0);
  EXPECT_EQ(puppet.scheduler.counts().waiting, 1);
  puppet.scheduler.Resume(id);
  const auto rows = puppet.Step();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].past, 12);
  EXPECT_EQ(rows[0].tokens, 2);
  EXPECT_EQ(puppet.scheduler.counts().prefix_hits, 0) << "its own work is no hit";
}

TEST(SchedulerBlocksTest, AFullBlockIsComputedOnceForAllThatShareIt) {
  PuppetEngine puppet(SmallOptions());
  const uint64_t first = puppet.Add(Prompt(14, 1), 4);
  puppet.Step();
  const uint64_t second = puppet.Add(Prompt(14, 1), 4);
  const auto rows = puppet.Step();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1].past, 12);
  EXPECT_EQ(rows[1].tokens, 2);
  EXPECT_EQ(puppet.scheduler.cached_tokens(first), 0);
  EXPECT_EQ(puppet.scheduler.cached_tokens(second), 12);
  EXPECT_EQ(puppet.scheduler.counts().prefix_queries, 28);
  EXPECT_EQ(puppet.scheduler.counts().prefix_hits, 12);
}

TEST(SchedulerBlocksTest, TheLastTokenIsAlwaysComputed) {
  PuppetEngine puppet(SmallOptions());
  puppet.Add(Prompt(12, 1), 1);
  puppet.RunToEnd();
  puppet.Add(Prompt(12, 1), 1);
  const auto rows = puppet.Step();
  EXPECT_EQ(rows[0].past, 8);
  EXPECT_EQ(rows[0].tokens, 4);
}

TEST(SchedulerBlocksTest, TheSecondOfTwoWaitsForTheFirstsPrefixAndOthersDoNot) {
  PuppetEngine puppet(SmallOptions());
  const uint64_t first = puppet.Add(Prompt(9, 1), 4);
  const uint64_t second = puppet.Add(Prompt(10, 1), 4);
  const uint64_t other = puppet.Add(Prompt(5, 2), 4);
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 9}, {other, 5}}));
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 1}, {second, 2}, {other, 1}}));
}

TEST(SchedulerBlocksTest, IfTheFirstFailsTheSecondComputesThePrefixItself) {
  PuppetEngine puppet(SmallOptions());
  const uint64_t first = puppet.Add(Prompt(20, 1), 4);
  const uint64_t second = puppet.Add(Prompt(20, 1), 4);
  EXPECT_EQ(puppet.Step().size(), 1u);
  puppet.Remove(first);
  const auto rows = puppet.Step();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].id, second);
  EXPECT_EQ(rows[0].past, 0) << "what never gave sound logits is not published";
}

TEST(SchedulerBlocksTest, EqualPlaceholdersOfDifferentImagesShareNothing) {
  PuppetEngine puppet(SmallOptions());
  const std::vector<int64_t> prompt = {7, 7, 7, 7, 1, 2};
  puppet.Add(prompt, 1, 1, SteadyTime::max(), {"a"});
  puppet.RunToEnd();
  puppet.Add(prompt, 1, 1, SteadyTime::max(), {"b"});
  EXPECT_EQ(puppet.Step()[0].past, 0);
  puppet.Add(prompt, 1, 1, SteadyTime::max(), {"a"});
  EXPECT_EQ(puppet.Step()[0].past, 4);
}

TEST(SchedulerBlocksTest, GeneratedBlocksAreFoundByTheNextTurn) {
  PuppetEngine puppet(SmallOptions());
  const uint64_t id = puppet.Add(Prompt(6, 1), 7);
  puppet.RunToEnd();
  std::vector<int64_t> next_turn = Prompt(6, 1);
  for (int64_t left = 7; left > 0; --left) next_turn.push_back(static_cast<int64_t>(id) * 1000 + left);
  next_turn.push_back(5);
  puppet.Add(next_turn, 1);
  EXPECT_EQ(puppet.Step()[0].past, 12);
}

TEST(SchedulerBlocksTest, CachedBlocksGiveWayToRunningSequences) {
  SchedulerOptions options = SmallOptions();
  options.blocks = 8;
  PuppetEngine puppet(options);
  puppet.Add(Prompt(16, 1), 1);
  puppet.RunToEnd();
  EXPECT_EQ(puppet.scheduler.counts().blocks_cached, 4);
  puppet.Add(Prompt(28, 2), 4);
  puppet.RunToEnd();
  EXPECT_EQ(puppet.scheduler.counts().preemptions, 0);
  EXPECT_EQ(puppet.scheduler.counts().blocks_held, 0);
}

TEST(SchedulerBlocksTest, BeamsShareThePromptAndCopyABlockOnlyWhenTheyWriteIt) {
  PuppetEngine puppet(SmallOptions());
  const uint64_t id = puppet.Add(Prompt(6, 1), 8, /*beams=*/3);
  EXPECT_EQ(puppet.Step().size(), 1u);
  const StepPlan plan = puppet.scheduler.Plan(kStart);
  ASSERT_EQ(plan.rows.size(), 3u);
  EXPECT_EQ(plan.copies.size(), 2u) << "the last of the three may keep the original";
  std::set<int32_t> first_blocks, second_blocks;
  for (const PlannedRow& row : plan.rows) {
    first_blocks.insert(row.blocks[0]);
    second_blocks.insert(row.blocks[1]);
  }
  EXPECT_EQ(first_blocks.size(), 1u);
  EXPECT_EQ(second_blocks.size(), 3u);
  for (const BlockCopy& copy : plan.copies) EXPECT_TRUE(second_blocks.contains(copy.from));
  puppet.scheduler.Computed(id);
  puppet.scheduler.Fork(id, std::vector<int>{0, 1, 2});
  EXPECT_TRUE(puppet.scheduler.Plan(kStart).copies.empty()) << "every beam went on by itself";
}

TEST(SchedulerBlocksTest, BeamsThatReserveTheirBlocksNeverGiveWay) {
  SchedulerOptions options = SmallOptions();
  options.blocks = 16;
  PuppetEngine puppet(options);
  puppet.parent = [](int beam) { return beam == 1 ? 0 : beam; };
  const uint64_t plain = puppet.Add(Prompt(8, 1), 40);
  const uint64_t group = puppet.Add(Prompt(7, 2), 12, /*beams=*/3);  // 1 + 3 · 4 blocks
  puppet.RunToEnd();
  EXPECT_EQ(puppet.finished, (std::vector<uint64_t>{group, plain}));
  EXPECT_EQ(puppet.scheduler.counts().preemptions, 1) << "the plain one, though it is older";
  EXPECT_EQ(puppet.scheduler.counts().blocks_held, 0);
}

TEST(SchedulerBlocksTest, AGroupThatIsLargerThanTheBatchRunsAlone) {
  SchedulerOptions options = SmallOptions();
  options.max_batch = 2;
  PuppetEngine puppet(options);
  puppet.Add(Prompt(3, 1), 3, /*beams=*/8);
  puppet.Add(Prompt(3, 2), 3);
  puppet.RunToEnd();
  EXPECT_EQ(puppet.finished.size(), 2u);
}

}  // namespace
}  // namespace diptych::language
