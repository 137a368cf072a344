// How the next token is chosen and when to stop: transformers' generate() for one sequence.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "blip2/checkpoint/config.h"

namespace diptych::blip2 {

struct GenerationOptions {
  int64_t max_new_tokens = 20;
  int64_t min_new_tokens = 0;
  double temperature = 0;  // 0: greedy
  int64_t top_k = 50;      // 0: all
  double top_p = 1;
  double repetition_penalty = 1;
  int64_t num_beams = 1;      // more than 1: beam search, only with temperature 0
  double length_penalty = 1;  // of beam search: over 0 favours long answers
  std::optional<uint64_t> seed = {};
  std::vector<std::string> stop = {};
  int64_t logprobs = 0;
  double presence_penalty = 0;                // of tokens that were generated already
  double frequency_penalty = 0;               // for each time that a token was generated
  std::map<int64_t, double> logit_bias = {};  // by token id
  double min_p = 0;                           // share of the best probability
  bool ignore_eos = false;
  std::vector<int64_t> stop_token_ids = {};
  std::optional<int64_t> prompt_logprobs = {};  // are wanted, with so many of the most likely tokens at each place
};

// INVALID_ARGUMENT naming the field ("generation.top_p"): OPTION_RANGE if an option is outside the bounds
// in inference.proto, TEXT_ENCODING if a stop string is not UTF-8. NaN is outside every bound.
absl::Status ValidateOptions(const GenerationOptions& options);
// OPTION_RANGE naming the field if a token id is not in [0, vocab_size).
absl::Status ValidateTokenIds(const GenerationOptions& options, int64_t vocab_size);

// The ids that end an answer: the model's own unless they are ignored, and the request's.
std::vector<int64_t> EndingTokens(const GenerationOptions& options, std::vector<int64_t> eos_token_ids);

struct TokenLogprob {
  int64_t id = 0;
  float logprob = 0;
};

struct ChosenToken {
  int64_t id = 0;
  float logprob = 0;                   // natural; before temperature and filters; 0 unless logprobs were asked for
  std::vector<TokenLogprob> top = {};  // `logprobs` of them, best first
};

// Chooses tokens for one sequence. Order of the steps as in transformers: ScoreEdits, temperature, top-k,
// top-p, min-p, then argmax (lowest id on ties) or one draw. A seed gives the same tokens everywhere; each
// draw takes one number of the generator. Thread-compatible.
class TokenSelector {
 public:
  // `ending_token_ids`: EndingTokens.
  TokenSelector(const GenerationOptions& options, std::vector<int64_t> ending_token_ids);

  // logits [V], any float dtype and device; `context` is prompt and generated ids, `generated` how many of
  // them are new. INTERNAL if a logit is NaN or infinite, or if the steps leave no token.
  absl::StatusOr<ChosenToken> Choose(const at::Tensor& logits, std::span<const int64_t> context, int64_t generated);
  // The number in [0, 1) by which Choose will draw `tokens` tokens from now, if there is a temperature.
  double NextDraw(int64_t tokens = 0) const;
  // Leaves out the draws of so many tokens, which were chosen elsewhere with the same seed.
  void Skip(int64_t tokens);

 private:
  GenerationOptions options_;
  std::vector<int64_t> ending_token_ids_;
  std::mt19937_64 random_;
};

// Watches the text for stop strings across token borders and releases only what can no longer be part
// of one. The stop string that is complete first ends the text, the longest of those that end together,
// so the pieces in which text comes do not matter. Whole characters in, whole characters out, as long as
// the stop strings are UTF-8. Thread-compatible.
class StopStringFilter {
 public:
  // Requires: no stop string is empty.
  explicit StopStringFilter(std::vector<std::string> stop) : stop_(std::move(stop)) {}

  // Appends text; returns what may be shown. After a stop string was found, `found()` is true and what
  // follows is swallowed.
  std::string Push(std::string_view text);
  // Text held back in case a stop string follows.
  std::string Finish();
  bool found() const { return found_; }

 private:
  // How many bytes at the end of what is held begin a stop string.
  size_t LongestStopPrefix() const;

  std::vector<std::string> stop_;
  std::string held_;
  bool found_ = false;
};

}  // namespace diptych::blip2
