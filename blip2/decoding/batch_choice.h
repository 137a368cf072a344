// Chooses the next tokens of many sequences where their logits lie: TokenSelector as operations on tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/decoding/generation.h"
#include "blip2/decoding/token_scores.h"

namespace diptych::blip2 {

class UploadBatch;

// One sequence's next token.
struct RowChoice {
  at::Tensor logits;  // [1, V] float32
  const GenerationOptions* options = nullptr;
  std::vector<ScoreEdit> edits = {};  // of this step
  double draw = 0;                    // TokenSelector::NextDraw
};

// A choice that the device may still make.
struct PendingChoice {
  at::Tensor ids;  // [R] int64, on the device: each in [0, V), also where there is an error
  // Waits for the choice, and not for what the device was given after it: what TokenSelector::Choose chooses for each
  // row, with its errors, in the rows' order. An error of the device is thrown.
  std::function<std::vector<absl::StatusOr<ChosenToken>>()> read;
};

// One copy to the device, one of a few numbers a row back; does not wait. Sums are made in double precision in the
// device's order: a draw that lies on the border of two tokens by the last bit may take the other one.
// Requires: at least one row; all logits on one device and of one width.
PendingChoice BeginChoice(std::span<const RowChoice> rows);

// BeginChoice, read. Of no rows nothing.
std::vector<absl::StatusOr<ChosenToken>> ChooseTokens(std::span<const RowChoice> rows);

// ScoreEdits of each row of a batch, on a device.
class BatchEdits {
 public:
  // `row` of scores [R, V].
  void Add(int64_t row, int64_t vocab_size, std::span<const ScoreEdit> edits);
  // Must stay where it is from here until `batch` is sent.
  void AddTo(UploadBatch& batch);
  // Edited() of each score. scores [R, V] float32, contiguous, changed in place. Requires: was sent.
  void Apply(const at::Tensor& scores) const;

 private:
  std::vector<int64_t> places_;     // of E scores among R·V
  std::vector<double> parameters_;  // five of each
  at::Tensor sent_places_;          // [E] int64
  at::Tensor sent_parameters_;      // [E, 5] float64: bias, penalty, presence, frequency, forbidden
};

}  // namespace diptych::blip2
