// What a pass holds, who starts when, and that nothing is lost.
#include "language_service/engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "common/status.h"
#include "tests/language_service/engine/puppet_engine.h"

namespace diptych::language {
namespace {

using std::chrono::milliseconds;
using testing::kStart;
using testing::Prompt;
using testing::PuppetEngine;
using testing::SmallOptions;
using testing::TokensOf;

TEST(SchedulerTest, APromptThatIsScoredIsComputedWholeInBoundedPieces) {
  Scheduler scheduler({.blocks = 400, .block_tokens = 4, .max_batched_tokens = 1000});
  const std::vector<int64_t> prompt = Prompt(600, 1);
  for (uint64_t id = 1; id <= 2; ++id) {  // the second finds all of it in the cache, and has no use for it
    ASSERT_TRUE(scheduler.Add({.id = id, .prompt = prompt, .scores_prompt = true}).ok());
    for (const int64_t tokens : {kMaxScoredTokens, kMaxScoredTokens, 600 - 2 * kMaxScoredTokens}) {
      const StepPlan plan = scheduler.Plan(kStart);
      ASSERT_EQ(plan.rows.size(), 1u);
      EXPECT_TRUE(plan.rows[0].scores);
      EXPECT_EQ(plan.rows[0].tokens, tokens);
      scheduler.Computed(id);
    }
    scheduler.Append(id, 5);
    EXPECT_EQ(scheduler.cached_tokens(id), 0);
    const StepPlan decode = scheduler.Plan(kStart);
    ASSERT_EQ(decode.rows.size(), 1u);
    EXPECT_FALSE(decode.rows[0].scores) << "what is generated is not scored";
    scheduler.Remove(id);
  }
  ASSERT_TRUE(scheduler.Add({.id = 3, .prompt = prompt}).ok());
  EXPECT_EQ(scheduler.Plan(kStart).rows[0].past, 596) << "others find what was computed";
}

TEST(SchedulerTest, APassHoldsOneTokenOfEachSequenceThatDecodesAndPromptsUpToTheBudget) {
  PuppetEngine puppet(SmallOptions());
  const uint64_t first = puppet.Add(Prompt(6, 1), 10);
  const uint64_t second = puppet.Add(Prompt(5, 2), 10);
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 6}, {second, 5}}));
  const uint64_t third = puppet.Add(Prompt(30, 3), 10);
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 1}, {second, 1}, {third, 14}}));
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 1}, {second, 1}, {third, 14}}));
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 1}, {second, 1}, {third, 2}}));
}

TEST(SchedulerTest, OnlyTheLastChunkWantsLogits) {
  PuppetEngine puppet(SmallOptions());
  puppet.Add(Prompt(20, 1), 2);
  EXPECT_FALSE(puppet.Step()[0].wants_logits);
  const auto rows = puppet.Step();
  EXPECT_TRUE(rows[0].wants_logits);
  EXPECT_EQ(rows[0].past, 16);
  EXPECT_EQ(rows[0].tokens, 4);
}

TEST(SchedulerTest, AStreamGetsATokenInEveryPassBesideALongPrompt) {
  PuppetEngine puppet(SmallOptions());
  const uint64_t stream = puppet.Add(Prompt(4, 1), 10);
  puppet.Step();
  const uint64_t prompt = puppet.Add(Prompt(180, 2), 1);
  while (!puppet.done(stream)) {
    auto tokens = TokensOf(puppet.Step());
    EXPECT_EQ(tokens[stream], 1);
    EXPECT_EQ(tokens[prompt], 15);
  }
  EXPECT_EQ(puppet.finished, std::vector<uint64_t>{stream});
}

TEST(SchedulerTest, RequestsStartInTheOrderOfTheirArrival) {
  SchedulerOptions options = SmallOptions();
  options.max_batch = 1;
  PuppetEngine puppet(options);
  std::vector<uint64_t> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(puppet.Add(Prompt(5 + i, i), 3));
  puppet.RunToEnd();
  EXPECT_EQ(puppet.finished, ids);
}

TEST(SchedulerTest, ALargeRequestIsNotOvertaken) {
  PuppetEngine puppet(SmallOptions());
  puppet.Add(Prompt(120, 1), 8);  // 32 of 64 blocks
  puppet.Step();
  puppet.Add(Prompt(200, 2), 8);  // 52 blocks: waits for the first
  puppet.Add(Prompt(4, 3), 8);
  while (puppet.finished.empty()) {
    EXPECT_EQ(puppet.scheduler.counts().running, 1) << "the small one starts after the large one";
    puppet.Step();
  }
  puppet.RunToEnd();
  EXPECT_EQ(puppet.finished.size(), 3u);
}

TEST(SchedulerTest, MaxBatchBoundsTheSequencesThatRun) {
  PuppetEngine puppet(SmallOptions());
  for (int i = 0; i < 20; ++i) puppet.Add(Prompt(1, i), 5);
  for (int i = 0; i < 3; ++i) EXPECT_LE(puppet.Step().size(), 8u);
  EXPECT_EQ(puppet.scheduler.counts().running, 8);
  EXPECT_EQ(puppet.scheduler.counts().waiting, 12);
}

TEST(SchedulerTest, WhatCanNeverFitIsRefusedAtOnce) {
  PuppetEngine puppet(SmallOptions());
  puppet.Add(Prompt(200, 1), 57);
  ASSERT_EQ(puppet.refusals.size(), 1u);
  EXPECT_EQ(puppet.refusals[0].code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(puppet.refusals[0]), reason::kKvFull);
  puppet.Add(Prompt(200, 1), 56);
  EXPECT_EQ(puppet.refusals.size(), 1u);
  puppet.Add(Prompt(8, 1), 60, /*beams=*/4);  // 2 + 4 · 15 blocks
  EXPECT_EQ(puppet.refusals.size(), 1u);
  puppet.Add(Prompt(8, 1), 61, /*beams=*/4);
  EXPECT_EQ(puppet.refusals.size(), 2u);
}

TEST(SchedulerTest, WorkThatItsDeadlineCannotCoverIsNotStarted) {
  PuppetEngine puppet(SmallOptions());
  puppet.scheduler.ObservePass(100, milliseconds(1000));
  puppet.scheduler.ObservePass(1, milliseconds(1000));
  puppet.Add(Prompt(20, 1), 1, 1, kStart + milliseconds(199));
  const uint64_t feasible = puppet.Add(Prompt(20, 2), 1, 1, kStart + milliseconds(200));
  const StepPlan plan = puppet.scheduler.Plan(kStart);
  EXPECT_EQ(plan.too_late.size(), 1u);
  ASSERT_EQ(plan.rows.size(), 1u);
  EXPECT_EQ(plan.rows[0].id, feasible);
}

// Requests of every kind come, go on, pause and are cancelled at random.
void RunTenThousandRandomRequests(bool ahead) {
  SchedulerOptions options = SmallOptions();
  options.blocks = 48;
  PuppetEngine puppet(options, ahead);
  std::mt19937 random(7);
  const auto upto = [&](int64_t most) { return static_cast<int64_t>(random() % most) + 1; };
  puppet.parent = [&](int beam) { return static_cast<int>(random() % (beam + 1)); };
  std::vector<uint64_t> open;
  std::set<uint64_t> paused;
  for (int added = 0; added < 10'000;) {
    while (open.size() < 20) {
      std::vector<int64_t> prompt = Prompt(upto(40), upto(12));
      const int beams = random() % 8 == 0 ? static_cast<int>(upto(4)) : 1;
      const uint64_t id = puppet.Add(std::move(prompt), upto(16), beams);
      ++added;
      if (!puppet.done(id)) open.push_back(id);
      if (beams == 1 && random() % 16 == 0 && !puppet.done(id)) paused.insert(id);
    }
    for (const uint64_t id : paused) {
      if (!puppet.done(id) && random() % 2 == 0) puppet.scheduler.Pause(id);
    }
    puppet.Step();
    for (const uint64_t id : paused) {
      if (!puppet.done(id)) puppet.scheduler.Resume(id);
    }
    if (random() % 3 == 0) {
      const uint64_t victim = open[random() % open.size()];
      if (!puppet.done(victim)) puppet.Remove(victim);
    }
    std::erase_if(open, [&](uint64_t id) { return puppet.done(id); });
    std::erase_if(paused, [&](uint64_t id) { return puppet.done(id); });
    const SchedulerCounts counts = puppet.scheduler.counts();
    ASSERT_LE(counts.blocks_held + counts.blocks_cached, counts.blocks_total);
  }
  puppet.RunToEnd();
  const SchedulerCounts counts = puppet.scheduler.counts();
  EXPECT_EQ(counts.blocks_held, 0);
  EXPECT_EQ(counts.running + counts.waiting, 0);
  EXPECT_GT(counts.preemptions, 0);
  EXPECT_GT(counts.prefix_hits, 0);
  const uint64_t whole_cache = puppet.Add(Prompt(48 * 4 - 1, 1), 1);
  puppet.RunToEnd();
  EXPECT_EQ(puppet.finished.back(), whole_cache);
}

TEST(SchedulerTest, AllBlocksAreBackAfterTenThousandRandomRequests) {
  RunTenThousandRandomRequests(/*ahead=*/false);
}

TEST(SchedulerTest, AllBlocksAreBackWhereStepsArePlannedAhead) {
  RunTenThousandRandomRequests(/*ahead=*/true);
}

TEST(SchedulerTest, AnExpectedTokenIsPlannedUnlessItIsTheLast) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add({.id = 1, .prompt = Prompt(6, 1), .max_new_tokens = 2}).ok());
  ASSERT_EQ(scheduler.Plan(kStart).rows.size(), 1u);
  scheduler.Computed(1);
  scheduler.Expect(1);
  const StepPlan ahead = scheduler.Plan(kStart);
  ASSERT_EQ(ahead.rows.size(), 1u);
  EXPECT_EQ(ahead.rows[0].past, 6);
  EXPECT_EQ(ahead.rows[0].tokens, 1);
  scheduler.Computed(1);
  scheduler.Expect(1);
  EXPECT_TRUE(scheduler.Plan(kStart).rows.empty());
  scheduler.Append(1, 8);
  scheduler.Append(1, 9);
}

// Else it would be computed again without its last token.
TEST(SchedulerTest, APausedRequestDoesNotStartAgainBeforeItsTokenIsKnown) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add({.id = 1, .prompt = Prompt(6, 1), .max_new_tokens = 5}).ok());
  (void)scheduler.Plan(kStart);
  scheduler.Computed(1);
  scheduler.Expect(1);
  scheduler.Pause(1);
  scheduler.Resume(1);
  EXPECT_TRUE(scheduler.Plan(kStart).rows.empty());
  scheduler.Append(1, 8);
  const StepPlan again = scheduler.Plan(kStart);
  ASSERT_EQ(again.rows.size(), 1u);
  EXPECT_EQ(again.rows[0].tokens, 7);
}

}  // namespace
}  // namespace diptych::language
