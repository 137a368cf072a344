// One pass of the decoder over what the scheduler planned.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/kv_pool.h"
#include "language_service/engine/scheduler.h"
#include "language_service/engine/sequence.h"
#include "language_service/served_model.h"

namespace diptych::language {

// A request's result of a pass: float32 logits [R, V] of its R rows that wanted some (undefined if none did), where the
// model runs, or the error that ends it.
struct PassResult {
  uint64_t id = 0;
  absl::StatusOr<at::Tensor> logits;
  std::optional<absl::StatusOr<blip2::ChosenToken>> chosen = {};  // by these logits, where the model chooses tokens
  at::Tensor scored = {};  // logits [T, V] of all tokens of a row that scores, undefined otherwise
  int64_t past = 0;        // of that row
};

// Copies the plan's blocks, then runs its rows together, and returns when that is done. If that fails, runs the
// requests one at a time, so that only the faulty ones fail: rows write nothing but their own new places, so a second
// run does what the first should have done. After DEVICE_LOST nothing runs again, and all get that. Throws nothing. One
// result for each request of the plan, in its order.
std::vector<PassResult> RunPass(const StepPlan& plan, const std::map<uint64_t, Sequence>& sequences,
                                const ServedLanguageModel& model, blip2::KvPool& pool);

}  // namespace diptych::language
