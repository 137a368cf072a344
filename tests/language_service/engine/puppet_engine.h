// The scheduler without a model: an engine that carries out its plans and checks them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "language_service/engine/scheduler.h"

namespace diptych::language::testing {

inline constexpr SteadyTime kStart{std::chrono::seconds(1000)};

// `tokens` ids that no prompt with another `first` shares.
inline std::vector<int64_t> Prompt(int64_t tokens, int64_t first) {
  std::vector<int64_t> ids(tokens);
  std::iota(ids.begin(), ids.end(), first * 10'000);
  return ids;
}

// What the engine does with a plan, without a model: checks it, carries it out and lets every sequence go on.
class PuppetEngine {
 public:
  // `ahead`: each step is planned before the tokens of the last one are known, unless there are beams in that.
  explicit PuppetEngine(const SchedulerOptions& options, bool ahead = false)
      : scheduler(options), options_(options), ahead_(ahead) {}

  uint64_t Add(std::vector<int64_t> prompt, int64_t max_new_tokens, int beams = 1,
               SteadyTime deadline = SteadyTime::max(), std::vector<std::string> image_keys = {}) {
    const uint64_t id = next_id_++;
    const auto known = static_cast<int64_t>(prompt.size());
    const absl::Status status = scheduler.Add({.id = id,
                                               .prompt = std::move(prompt),
                                               .image_keys = std::move(image_keys),
                                               .max_new_tokens = max_new_tokens,
                                               .beams = beams,
                                               .deadline = deadline});
    if (status.ok()) {
      requests_[id] = {.known = known, .left = max_new_tokens, .beams = beams};
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
    std::vector<uint64_t> chosen;
    for (const PlannedRow& row : plan.rows) {
      if (row.beam > 0) continue;
      scheduler.Computed(row.id);
      if (row.wants_logits) chosen.push_back(row.id);
    }
    Advance(chosen);
    return plan.rows;
  }

  int RunToEnd() {
    int steps = 0;
    while (!requests_.empty()) {
      const bool expects = !coming_.empty();
      EXPECT_TRUE(!Step().empty() || expects) << "no request gets a token";
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
    int64_t known = 0;  // tokens
    int64_t left = 0;   // tokens
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
      const bool decodes_next = row.tokens == 1 && std::find(coming_.begin(), coming_.end(), row.id) != coming_.end();
      EXPECT_LE(row.past + row.tokens, requests_.at(row.id).known + (decodes_next ? 1 : 0));
    }
    EXPECT_LE(tokens, options_.max_batched_tokens);
    for (const PlannedRow& row : plan.rows) {
      for (int64_t i = row.past / options_.block_tokens; i * options_.block_tokens < row.past + row.tokens; ++i) {
        EXPECT_EQ(read.count(row.blocks[i]), 1u);
      }
    }
  }

  // The tokens of the last step become known, then, unless they may come later, those of this one.
  void Advance(std::vector<uint64_t> chosen) {
    const auto alone = [this](uint64_t id) { return requests_.at(id).beams == 1; };
    const bool later = ahead_ && std::all_of(chosen.begin(), chosen.end(), alone);
    if (later) {
      for (const uint64_t id : chosen) scheduler.Expect(id);
    }
    for (const uint64_t id : std::exchange(coming_, {})) Advance(id);
    if (later) {
      coming_ = std::move(chosen);
    } else {
      for (const uint64_t id : chosen) Advance(id);
    }
  }

  void Advance(uint64_t id) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) return;  // it has ended meanwhile
    Request& request = found->second;
    ++request.known;
    if (request.beams == 1) {
      scheduler.Append(id, static_cast<int64_t>(id) * 1000 + request.left);
    } else {
      std::vector<int> parents(request.beams, 0);
      for (int beam = 0; request.forked && beam < request.beams; ++beam) parents[beam] = parent(beam);
      request.forked = true;
      scheduler.Fork(id, parents);
    }
    if (--request.left > 0) return;
    finished.push_back(id);
    Remove(id);
  }

  const SchedulerOptions options_;
  const bool ahead_;
  std::vector<uint64_t> coming_;  // whose next token will be known in the next step
  uint64_t next_id_ = 1;
  std::map<uint64_t, Request> requests_;
};

// 64 blocks of 4 tokens, passes of at most 16 tokens.
inline SchedulerOptions SmallOptions() {
  return {.blocks = 64, .block_tokens = 4, .query_tokens = 4, .max_batch = 8, .max_batched_tokens = 16};
}

inline std::map<uint64_t, int64_t> TokensOf(const std::vector<PlannedRow>& rows) {
  std::map<uint64_t, int64_t> tokens;
  for (const PlannedRow& row : rows) tokens[row.id] += row.tokens;
  return tokens;
}

}  // namespace diptych::language::testing
