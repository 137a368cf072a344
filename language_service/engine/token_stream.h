// The way out of the engine: tokens of one request, handed to its reader as fast as the reader takes them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/decoding/generation.h"
#include "common/mutex.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::language {

// Tokens and the text that became complete with them.
struct TokenDelta {
  std::string text;
  std::vector<blip2::ChosenToken> tokens;
  std::vector<blip2::ChosenToken> prompt_scores = {};  // all, with the first delta, if they were asked for
};

// The patches that the tokens of an answer looked at.
// Float32 on the CPU; G is the number of the answer's tokens.
struct AnswerRelevance {
  std::vector<at::Tensor> images;  // for each image [G, P - 1]: shares of its patches, at most 1 in all
  at::Tensor image_share;          // [G]: what the images' query tokens had of the decoder's attention
};

// Everything about a finished answer that its deltas did not say.
struct GenerateResult {
  std::string text;
  std::vector<blip2::ChosenToken> tokens;
  v1::FinishReason finish_reason = v1::FINISH_REASON_UNSPECIFIED;
  v1::StageTimings timings;                  // cache hits of the KV cache included
  std::optional<AnswerRelevance> relevance;  // if it was asked for
  // Of the prompt's tokens that stand for text, 0 for one that follows nothing; empty if they were not asked for.
  std::vector<blip2::ChosenToken> prompt_scores = {};
  int64_t discarded_tokens = 0;  // of answers that were generated and not chosen
};

class TokenDelivery;

// The reader gets one thing at a time: deltas that come while it is busy are joined into one. What waits is
// therefore bounded by the request's max_new_tokens, however slowly the reader takes it. Thread-safe.
class TokenStream : public std::enable_shared_from_this<TokenStream> {
 public:
  struct Reader {
    // Called on the thread of Next, or that of Push and End or of DeliverOn. Must lead to a call of Next when the
    // reader asks for more.
    std::function<void(TokenDelta)> on_delta;
    // Called once, last.
    std::function<void(absl::StatusOr<GenerateResult>)> on_end;
    // Called at most once, before on_end, when the reader is dropped because it does not read: whatever it waits
    // for must end now, so that on_end can reach it.
    std::function<void()> on_stuck = nullptr;
  };

  // The reader counts as busy until its first Next.
  explicit TokenStream(Reader reader) : reader_(std::move(reader)) {}

  // Engine side, before the first Push: from now on `delivery`'s thread calls a reader that is ready, and Push and End
  // only add to what waits. `delivery` outlives the last of them. Requires: owned by a shared_ptr.
  void DeliverOn(TokenDelivery& delivery);
  // Engine side.
  void Push(TokenDelta delta);
  // The answer ends with an error, and its reader has not taken what waits. Before End.
  void GiveUpReader();
  // Exactly once, after the last Push.
  void End(absl::StatusOr<GenerateResult> result);
  // Tokens that wait because the reader is busy.
  int64_t unread_tokens() const;

  // Reader side: ready for more.
  void Next();
  // Reader side: deltas no longer matter, the end still does.
  void Abandon();

  // Of TokenDelivery: after Add.
  void DeliverAdded();

 private:
  // An action for when the lock is free again: at most one of them.
  struct Step {
    TokenDelivery* add_to = nullptr;
    std::optional<TokenDelta> delta = {};
    std::optional<absl::StatusOr<GenerateResult>> result = {};
  };
  // Something waits: it is delivered now, or by delivery_, if the reader is ready.
  Step Offer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The waiting message, if any; the reader is then busy.
  Step TakeNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Do(Step step) ABSL_LOCKS_EXCLUDED(mutex_);

  const Reader reader_;
  mutable Mutex mutex_;
  TokenDelivery* delivery_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool added_ ABSL_GUARDED_BY(mutex_) = false;  // to delivery_
  bool busy_ ABSL_GUARDED_BY(mutex_) = true;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<TokenDelta> delta_ ABSL_GUARDED_BY(mutex_);                       // waits for the reader
  std::optional<absl::StatusOr<GenerateResult>> result_ ABSL_GUARDED_BY(mutex_);  // comes after delta_
};

}  // namespace diptych::language
