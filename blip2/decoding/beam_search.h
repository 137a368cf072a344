// Beam search for one sequence.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/decoding/generation.h"

namespace diptych::blip2 {

// Mirrors transformers' generate(num_beams=…, early_stopping=False): num_beams, length_penalty, max new tokens and
// ScoreEdits over log-probabilities. Stop strings are not looked at. Thread-compatible.
//
//   while (!search.finished()) search.Advance(logits after what each beam has read);
class BeamSearch {
 public:
  // `ending_token_ids`: EndingTokens. Requires: ValidateOptions(options) is OK.
  BeamSearch(const GenerationOptions& options, std::vector<int64_t> ending_token_ids, std::vector<int64_t> prompt_ids);

  // The next state of each live beam, best first: beam i takes the place of what parents[i] was before and reads
  // tokens[i] next. Several beams may have one parent. Empty once the search is finished.
  struct Step {
    std::vector<int> parents;
    std::vector<int64_t> tokens;
  };

  // logits [1, V] of the prompt at first, then [beams, V] in the order of the last step, any float dtype and
  // device. INTERNAL if a logit is NaN or infinite, if the shape is another, or if no token may follow.
  // Requires: !finished().
  absl::StatusOr<Step> Advance(const at::Tensor& logits);

  bool finished() const { return finished_; }

  // The best hypothesis, with the token that ended it, if one did. `logprob` and `top` are of the model's own
  // scores, as TokenSelector's. Requires: finished().
  std::vector<ChosenToken> best() const;

 private:
  // A token of a hypothesis; hypotheses share what they have in common.
  struct Node {
    int parent = -1;  // in nodes_; -1: the prompt
    ChosenToken token;
  };
  struct Beam {
    int node = -1;
    float score = 0;  // sum of the processed log-probabilities
  };
  struct Hypothesis {
    int node = -1;
    float score = 0;  // divided by length^length_penalty
  };

  // The ids that a beam has read: prompt and generated ones.
  std::vector<int64_t> Context(const Beam& beam) const;
  // `logprobs` [beams, V] after ScoreEdits, plus what the beams have so far.
  at::Tensor Totals(const at::Tensor& logprobs) const;
  // The best `count` of `totals`: [2, count] float64 on the CPU, totals and places among beams · V, best first. The
  // first total is NaN if a logit is NaN or infinite.
  static at::Tensor Candidates(const at::Tensor& logits, const at::Tensor& totals, int64_t count);
  // Finishes candidates or continues them. `logprobs` [beams, V] on the CPU; undefined if none are reported.
  Step Take(const at::Tensor& candidates, int64_t vocab_size, const at::Tensor& logprobs);
  void AddFinished(int node, float total);
  bool CanImprove() const;
  float LengthDivisor() const;
  bool EndsSequence(int64_t id) const;

  GenerationOptions options_;
  std::vector<int64_t> ending_token_ids_;
  std::vector<int64_t> prompt_ids_;
  std::vector<Node> nodes_;
  std::vector<Beam> beams_ = {Beam{}};
  std::vector<Hypothesis> hypotheses_;  // at most num_beams, best first
  int64_t generated_ = 0;               // tokens of each live beam
  bool finished_ = false;
};

}  // namespace diptych::blip2
