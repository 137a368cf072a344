#include "language_service/engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>
#include <random>
#include <set>

#include "common/status.h"

namespace diptych::language {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr SteadyTime kStart{seconds(1000)};

// `tokens` ids that no prompt with another `first` shares.
std::vector<int64_t> Prompt(int64_t tokens, int64_t first) {
  std::vector<int64_t> ids(tokens);
  std::iota(ids.begin(), ids.end(), first * 10'000);
  return ids;
}

// What the engine does with a plan, without a model: checks it, carries it out and lets every sequence go on.
class Puppet {
 public:
  explicit Puppet(const SchedulerOptions& options) : scheduler(options), options_(options) {}

  uint64_t Add(std::vector<int64_t> prompt, int64_t max_new_tokens, int beams = 1,
               SteadyTime deadline = SteadyTime::max(), std::vector<std::string> image_keys = {}) {
    const uint64_t id = next_id_++;
    const absl::Status status = scheduler.Add({.id = id,
                                               .prompt = std::move(prompt),
                                               .image_keys = std::move(image_keys),
                                               .max_new_tokens = max_new_tokens,
                                               .beams = beams,
                                               .deadline = deadline});
    if (status.ok()) {
      requests_[id] = {.left = max_new_tokens, .beams = beams};
    } else {
      refusals.push_back(status);
    }
    return id;
  }

  void Remove(uint64_t id) {
    scheduler.Remove(id);
    requests_.erase(id);
  }

  // Returns the rows of the pass.
  std::vector<PlannedRow> Step(SteadyTime now = kStart) {
    const StepPlan plan = scheduler.Plan(now);
    Check(plan);
    for (const uint64_t id : plan.too_late) Remove(id);
    for (size_t i = 0; i < plan.rows.size(); ++i) {
      if (i == 0 || plan.rows[i].id != plan.rows[i - 1].id) Advance(plan.rows[i]);
    }
    return plan.rows;
  }

  int RunToEnd() {
    int steps = 0;
    while (!requests_.empty()) {
      EXPECT_FALSE(Step().empty()) << "nobody gets on";
      if (++steps > 10'000) break;
    }
    return steps;
  }

  bool done(uint64_t id) const { return !requests_.contains(id); }

  Scheduler scheduler;
  std::vector<absl::Status> refusals;
  std::vector<uint64_t> finished;
  std::function<int(int beam)> parent = [](int beam) { return beam; };  // of the next forks

 private:
  struct Request {
    int64_t left = 0;  // tokens
    int beams = 1;
    bool forked = false;
  };

  // No block that a row writes is in another row, nor where another copy goes.
  void Check(const StepPlan& plan) const {
    int64_t tokens = 0;
    std::multiset<int32_t> read;
    for (const PlannedRow& row : plan.rows) {
      tokens += row.tokens;
      read.insert(row.blocks.begin(), row.blocks.end());
      EXPECT_GE(static_cast<int64_t>(row.blocks.size()) * options_.block_tokens, row.past + row.tokens);
    }
    EXPECT_LE(tokens, options_.max_batched_tokens);
    for (const PlannedRow& row : plan.rows) {
      for (int64_t i = row.past / options_.block_tokens; i * options_.block_tokens < row.past + row.tokens; ++i) {
        EXPECT_EQ(read.count(row.blocks[i]), 1u);
      }
    }
  }

  void Advance(const PlannedRow& row) {
    scheduler.Computed(row.id);
    if (!row.wants_logits) return;
    Request& request = requests_.at(row.id);
    if (request.beams == 1) {
      scheduler.Append(row.id, static_cast<int64_t>(row.id) * 1000 + request.left);
    } else {
      std::vector<int> parents(request.beams, 0);
      for (int beam = 0; request.forked && beam < request.beams; ++beam) parents[beam] = parent(beam);
      request.forked = true;
      scheduler.Fork(row.id, parents);
    }
    if (--request.left > 0) return;
    finished.push_back(row.id);
    Remove(row.id);
  }

  const SchedulerOptions options_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, Request> requests_;
};

SchedulerOptions Small() {
  return {.blocks = 64, .block_tokens = 4, .query_tokens = 4, .max_batch = 8, .max_batched_tokens = 16};
}

std::map<uint64_t, int64_t> TokensOf(const std::vector<PlannedRow>& rows) {
  std::map<uint64_t, int64_t> tokens;
  for (const PlannedRow& row : rows) tokens[row.id] += row.tokens;
  return tokens;
}

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
  Puppet puppet(Small());
  const uint64_t first = puppet.Add(Prompt(6, 1), 10);
  const uint64_t second = puppet.Add(Prompt(5, 2), 10);
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 6}, {second, 5}}));
  const uint64_t third = puppet.Add(Prompt(30, 3), 10);
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 1}, {second, 1}, {third, 14}}));
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 1}, {second, 1}, {third, 14}}));
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 1}, {second, 1}, {third, 2}}));
}

TEST(SchedulerTest, OnlyTheLastChunkWantsLogits) {
  Puppet puppet(Small());
  puppet.Add(Prompt(20, 1), 2);
  EXPECT_FALSE(puppet.Step()[0].wants_logits);
  const auto rows = puppet.Step();
  EXPECT_TRUE(rows[0].wants_logits);
  EXPECT_EQ(rows[0].past, 16);
  EXPECT_EQ(rows[0].tokens, 4);
}

TEST(SchedulerTest, AStreamGetsATokenInEveryPassBesideALongPrompt) {
  Puppet puppet(Small());
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
  SchedulerOptions options = Small();
  options.max_batch = 1;
  Puppet puppet(options);
  std::vector<uint64_t> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(puppet.Add(Prompt(5 + i, i), 3));
  puppet.RunToEnd();
  EXPECT_EQ(puppet.finished, ids);
}

TEST(SchedulerTest, ALargeRequestIsNotOvertaken) {
  Puppet puppet(Small());
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
  Puppet puppet(Small());
  for (int i = 0; i < 20; ++i) puppet.Add(Prompt(1, i), 5);
  for (int i = 0; i < 3; ++i) EXPECT_LE(puppet.Step().size(), 8u);
  EXPECT_EQ(puppet.scheduler.counts().running, 8);
  EXPECT_EQ(puppet.scheduler.counts().waiting, 12);
}

TEST(SchedulerTest, WhatCanNeverFitIsRefusedAtOnce) {
  Puppet puppet(Small());
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

TEST(SchedulerTest, TheYoungestGivesWayWhenBlocksRunOutAndEndsAllTheSame) {
  SchedulerOptions options = Small();
  options.blocks = 10;
  Puppet puppet(options);
  const uint64_t oldest = puppet.Add(Prompt(8, 1), 24);
  const uint64_t middle = puppet.Add(Prompt(8, 2), 24);
  const uint64_t youngest = puppet.Add(Prompt(4, 3), 24);
  puppet.RunToEnd();
  EXPECT_GT(puppet.scheduler.counts().preemptions, 0);
  EXPECT_EQ(puppet.finished, (std::vector<uint64_t>{oldest, middle, youngest}));
}

TEST(SchedulerTest, APreemptedSequenceFindsWhatItComputedBefore) {
  SchedulerOptions options = Small();
  Puppet puppet(options);
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

TEST(SchedulerTest, AFullBlockIsComputedOnceForAllThatShareIt) {
  Puppet puppet(Small());
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

TEST(SchedulerTest, TheLastTokenIsAlwaysComputed) {
  Puppet puppet(Small());
  puppet.Add(Prompt(12, 1), 1);
  puppet.RunToEnd();
  puppet.Add(Prompt(12, 1), 1);
  const auto rows = puppet.Step();
  EXPECT_EQ(rows[0].past, 8);
  EXPECT_EQ(rows[0].tokens, 4);
}

TEST(SchedulerTest, TheSecondOfTwoWaitsForTheFirstsPrefixAndOthersDoNot) {
  Puppet puppet(Small());
  const uint64_t first = puppet.Add(Prompt(9, 1), 4);
  const uint64_t second = puppet.Add(Prompt(10, 1), 4);
  const uint64_t other = puppet.Add(Prompt(5, 2), 4);
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 9}, {other, 5}}));
  EXPECT_EQ(TokensOf(puppet.Step()), (std::map<uint64_t, int64_t>{{first, 1}, {second, 2}, {other, 1}}));
}

TEST(SchedulerTest, IfTheFirstFailsTheSecondComputesThePrefixItself) {
  Puppet puppet(Small());
  const uint64_t first = puppet.Add(Prompt(20, 1), 4);
  const uint64_t second = puppet.Add(Prompt(20, 1), 4);
  EXPECT_EQ(puppet.Step().size(), 1u);
  puppet.Remove(first);
  const auto rows = puppet.Step();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].id, second);
  EXPECT_EQ(rows[0].past, 0) << "what never gave sound logits is not published";
}

TEST(SchedulerTest, EqualPlaceholdersOfDifferentImagesShareNothing) {
  Puppet puppet(Small());
  const std::vector<int64_t> prompt = {7, 7, 7, 7, 1, 2};
  puppet.Add(prompt, 1, 1, SteadyTime::max(), {"a"});
  puppet.RunToEnd();
  puppet.Add(prompt, 1, 1, SteadyTime::max(), {"b"});
  EXPECT_EQ(puppet.Step()[0].past, 0);
  puppet.Add(prompt, 1, 1, SteadyTime::max(), {"a"});
  EXPECT_EQ(puppet.Step()[0].past, 4);
}

TEST(SchedulerTest, GeneratedBlocksAreFoundByTheNextTurn) {
  Puppet puppet(Small());
  const uint64_t id = puppet.Add(Prompt(6, 1), 7);
  puppet.RunToEnd();
  std::vector<int64_t> next_turn = Prompt(6, 1);
  for (int64_t left = 7; left > 0; --left) next_turn.push_back(static_cast<int64_t>(id) * 1000 + left);
  next_turn.push_back(5);
  puppet.Add(next_turn, 1);
  EXPECT_EQ(puppet.Step()[0].past, 12);
}

TEST(SchedulerTest, CachedBlocksGiveWayToRunningSequences) {
  SchedulerOptions options = Small();
  options.blocks = 8;
  Puppet puppet(options);
  puppet.Add(Prompt(16, 1), 1);
  puppet.RunToEnd();
  EXPECT_EQ(puppet.scheduler.counts().blocks_cached, 4);
  puppet.Add(Prompt(28, 2), 4);
  puppet.RunToEnd();
  EXPECT_EQ(puppet.scheduler.counts().preemptions, 0);
  EXPECT_EQ(puppet.scheduler.counts().blocks_held, 0);
}

TEST(SchedulerTest, BeamsShareThePromptAndCopyABlockOnlyWhenTheyWriteIt) {
  Puppet puppet(Small());
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

TEST(SchedulerTest, BeamsThatReserveTheirBlocksNeverGiveWay) {
  SchedulerOptions options = Small();
  options.blocks = 16;
  Puppet puppet(options);
  puppet.parent = [](int beam) { return beam == 1 ? 0 : beam; };
  const uint64_t plain = puppet.Add(Prompt(8, 1), 40);
  const uint64_t group = puppet.Add(Prompt(7, 2), 12, /*beams=*/3);  // 1 + 3 · 4 blocks
  puppet.RunToEnd();
  EXPECT_EQ(puppet.finished, (std::vector<uint64_t>{group, plain}));
  EXPECT_EQ(puppet.scheduler.counts().preemptions, 1) << "the plain one, though it is older";
  EXPECT_EQ(puppet.scheduler.counts().blocks_held, 0);
}

TEST(SchedulerTest, AGroupThatIsLargerThanTheBatchRunsAlone) {
  SchedulerOptions options = Small();
  options.max_batch = 2;
  Puppet puppet(options);
  puppet.Add(Prompt(3, 1), 3, /*beams=*/8);
  puppet.Add(Prompt(3, 2), 3);
  puppet.RunToEnd();
  EXPECT_EQ(puppet.finished.size(), 2u);
}

TEST(SchedulerTest, WorkThatItsDeadlineCannotCoverIsNotStarted) {
  Puppet puppet(Small());
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
TEST(SchedulerTest, AllBlocksAreBackAfterTenThousandRandomRequests) {
  SchedulerOptions options = Small();
  options.blocks = 48;
  Puppet puppet(options);
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

}  // namespace
}  // namespace diptych::language
