// One request inside the engine: its tokens, its keys and values, its text.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/generation.h"
#include "blip2/opt.h"
#include "language_service/answer_text.h"
#include "language_service/generate_work.h"
#include "language_service/served_model.h"

namespace diptych {

// Prefill once, then Decode until finished. Confined to the engine thread. Any error ends the sequence; the steps may
// throw, as libtorch does.
class Sequence {
 public:
  // `model` must outlive the sequence.
  Sequence(GenerateWork work, const ServedLanguageModel& model);

  // The whole prompt through the decoder, and the first token.
  absl::Status Prefill();
  // One more token. Requires: Prefill succeeded and !finished().
  absl::Status Decode();

  bool finished() const { return finish_reason_ != v1::FINISH_REASON_UNSPECIFIED; }
  // Requires: finished(). Call once.
  GenerateResult TakeResult();

 private:
  // -> [1, T, De] of the whole prompt, pictures first.
  at::Tensor EmbedPrompt() const;
  // Runs the decoder and takes the next token. `stage` gets the time.
  //   embeddings [1, T, De]
  absl::Status Step(const at::Tensor& embeddings, Stage stage);
  void Take(blip2::ChosenToken token);
  v1::FinishReason StopAfter(int64_t token) const;

  const ServedLanguageModel& model_;
  GenerateWork work_;
  blip2::TokenSelector selector_;
  AnswerText text_;
  blip2::KvCache cache_;
  std::vector<int64_t> context_;  // prompt and generated ids
  std::vector<blip2::ChosenToken> tokens_;
  v1::FinishReason finish_reason_ = v1::FINISH_REASON_UNSPECIFIED;
  std::optional<SteadyTime> first_text_;
};

}  // namespace diptych
