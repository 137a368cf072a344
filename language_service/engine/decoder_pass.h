// One pass of the decoder over what the scheduler planned.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

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

// Tokens that have been chosen and are not known: which of `ids` is whose.
struct UnknownTokens {
  at::Tensor ids;  // [R] int64, on the device
  std::map<uint64_t, int64_t> places = {};
};

// Requests that run together.
struct RunningRequests {
  std::vector<PassResult> results;    // without what is still to be chosen
  std::vector<size_t> chosen_for;     // places among `results`
  blip2::PendingChoice choice = {};   // for these; empty where the model chooses nothing
  std::optional<c10::Device> device;  // nullopt if they have failed
};

// All requests of a pass, in its order: together, or one at a time.
using RunningPass = std::vector<RunningRequests>;

// Copies the plan's blocks, then runs its rows together; a device may still be at it when this returns. If that fails,
// runs the requests one at a time, so that only the faulty ones fail: rows write nothing but their own new places, so a
// second run does what the first should have done. After DEVICE_LOST nothing runs again, and all get that. A row of a
// token that `unknown` has takes it from there. Throws nothing.
RunningPass StartPass(const StepPlan& plan, const std::map<uint64_t, Sequence>& sequences,
                      const ServedLanguageModel& model, blip2::KvPool& pool, const UnknownTokens& unknown);

// What the pass chooses, if the next one may start before that is known: it chooses all tokens on the device, for
// sequences that may run ahead.
std::optional<UnknownTokens> TokensToCome(const RunningPass& pass, const std::map<uint64_t, Sequence>& sequences);

// Waits for the pass. What the device fails at only now fails for all that ran together. Throws nothing. One result for
// each request of the plan, in its order.
std::vector<PassResult> AwaitPass(RunningPass pass);

}  // namespace diptych::language
