// One request inside the engine: its tokens, its text, its clock.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/decoding/batch_choice.h"
#include "blip2/decoding/beam_search.h"
#include "blip2/decoding/generation.h"
#include "language_service/engine/answer_text.h"
#include "language_service/engine/generate_work.h"
#include "language_service/engine/scheduler.h"
#include "language_service/served_model.h"

namespace diptych::language {

// Chooses tokens from logits and makes an answer of them; knows nothing of blocks and batches. Confined to the engine
// thread. Any error ends the sequence.
class Sequence {
 public:
  // `model` must outlive the sequence.
  Sequence(GenerateWork work, const ServedLanguageModel& model);

  ScheduledRequest ToScheduled(uint64_t id) const;
  // Whether the answer is still wanted; the error names the stage in which it is now.
  absl::Status Check(SteadyTime now) const;

  // The input at places [past, past + tokens) of a beam, in two parts: the query tokens of images, [t, De]
  // (undefined if there is none), then ids.
  at::Tensor QueryTokensAt(int64_t past, int64_t tokens) const;
  // As far as they are known.
  std::span<const int64_t> Ids(int beam, int64_t past, int64_t tokens) const;

  // A pass that holds rows of this sequence begins.
  void BeginPass(SteadyTime now);
  // It ended without logits for this sequence.
  void EndChunk(SteadyTime now);
  // The logits [T, V] of the prompt's places [past, past + T) are there, where they were asked for. Places that were
  // there before are passed over.
  absl::Status ScorePrompt(int64_t past, const at::Tensor& logits);
  // It ended at `pass_end`, and its logits are there, [1, V] or those of all beams [beams, V]: chooses what follows.
  absl::Status Accept(const at::Tensor& logits, SteadyTime pass_end);
  // The choice to make for it by `logits` [1, V] in a batch; nullopt if Accept must do it: with beams, or where no
  // token is wanted.
  std::optional<blip2::RowChoice> ToChoice(const at::Tensor& logits) const;
  // As Accept, after that was chosen; its error ends the sequence.
  absl::Status AcceptChosen(absl::StatusOr<blip2::ChosenToken> token, SteadyTime pass_end);
  // Whether a token can be chosen while the one before is not known.
  bool may_run_ahead() const;
  // A token has been chosen that AcceptChosen will tell: the next choice is that of the token after it.
  void Expect() { ++expected_; }

  // The pass for its relevance ended. Requires: finished().
  void EndRelevance(SteadyTime now);

  bool finished() const { return finish_reason_ != v1::FINISH_REASON_UNSPECIFIED; }
  // Whether a pass has chosen a token of the answer, be it known or not.
  bool decoding() const { return passes_ + expected_ > 0; }
  int64_t answer_tokens() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t prompt_tokens() const { return static_cast<int64_t>(work_.prompt.ids.size()); }
  bool has_beams() const { return beams_.has_value(); }
  bool wants_relevance() const { return work_.relevance; }
  std::span<const std::shared_ptr<const QueryTokens>> images() const { return work_.images; }
  // The token that the last Accept chose. Requires: no beams.
  int64_t last_token() const { return context_.back(); }
  // Which beam each beam continues since the last Accept. Requires: beams; not finished().
  std::span<const int> parents() const { return beam_step_.parents; }
  TokenStream& stream() const { return *work_.stream; }
  // The stream itself, which outlives the sequence.
  std::shared_ptr<TokenStream> shared_stream() const { return work_.stream; }

  // `cached_tokens` of the prompt, and of what was begun after it, were found in the KV cache. Requires: finished().
  // Call once.
  GenerateResult TakeResult(int64_t cached_tokens);

 private:
  void EndPass(SteadyTime now);
  // No token is wanted: the answer is whole.
  absl::Status AcceptNothing();
  absl::Status AcceptToken(absl::StatusOr<blip2::ChosenToken> token);
  absl::Status AcceptBeams(const at::Tensor& logits);
  // Goes on after the tokens that were begun.
  void TakeBegun();
  // Adds one token to the answer; the text that became complete goes to `delta`.
  void Take(blip2::ChosenToken token, TokenDelta& delta);
  void Show(TokenDelta delta);
  // It ends the answer and adds nothing to its text.
  bool IsStopToken(int64_t token) const;
  v1::FinishReason StopAfter(int64_t token) const;
  // A token was chosen: the time since the last segment was its stage's.
  void Chosen();
  Stage stage() const { return passes_ == 0 ? Stage::kPrefill : Stage::kDecode; }
  // The stage in which it waits between two passes.
  Stage queue() const { return passes_ == 0 ? Stage::kLanguageQueue : Stage::kDecodeQueue; }

  GenerateWork work_;
  const std::vector<int64_t> ending_tokens_;
  blip2::TokenSelector selector_;
  std::optional<blip2::BeamSearch> beams_;  // instead of selector_ if there are several
  blip2::BeamSearch::Step beam_step_;       // the last one; empty before the first
  AnswerText text_;
  std::vector<int64_t> context_;            // prompt and generated ids
  std::vector<blip2::ChosenToken> tokens_;  // of the answer; with beams only at the end
  std::vector<blip2::ChosenToken> prompt_scores_;
  int64_t passes_ = 0;    // that chose tokens
  int64_t expected_ = 0;  // tokens that are chosen and not known
  bool started_ = false;
  bool shown_ = false;  // something of the answer
  v1::FinishReason finish_reason_ = v1::FINISH_REASON_UNSPECIFIED;
  std::optional<SteadyTime> first_text_;
  SteadyTime first_token_{}, last_token_{};  // when they were chosen
};

}  // namespace diptych::language
