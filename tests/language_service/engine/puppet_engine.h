// The scheduler without a model: an engine that carries out its plans and checks them.
#pragma once

#include <gtest/gtest.h>

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
  explicit PuppetEngine(const SchedulerOptions& options) : scheduler(options), options_(options) {}

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
      EXPECT_FALSE(Step().empty()) << "no request gets a token";
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
