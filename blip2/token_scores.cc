#include "blip2/token_scores.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

namespace diptych::blip2 {
namespace {

// Natural log-probabilities of single tokens under softmax(logits).
class LogSoftmax {
 public:
  explicit LogSoftmax(std::span<const float> logits) : logits_(logits) {
    best_ = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - best_);
    log_sum_ = std::log(sum);
  }
  float operator()(int64_t id) const { return static_cast<float>(logits_[id] - best_ - log_sum_); }

 private:
  std::span<const float> logits_;
  double best_ = 0;
  double log_sum_ = 0;
};

std::vector<int64_t> MostLikely(std::span<const float> logits, int64_t count) {
  std::vector<int64_t> ids(logits.size());
  for (size_t id = 0; id < ids.size(); ++id) ids[id] = static_cast<int64_t>(id);
  const auto end = ids.begin() + std::min(count, static_cast<int64_t>(ids.size()));
  std::partial_sort(ids.begin(), end, ids.end(),
                    [&](int64_t a, int64_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); });
  ids.erase(end, ids.end());
  return ids;
}

bool IsIn(std::span<const float> scores, int64_t id) {
  return id >= 0 && id < static_cast<int64_t>(scores.size());
}

// Lowers the scores of generated ids, once for each id and once for each time that it came.
void LowerRepeated(std::span<const int64_t> generated, double presence, double frequency, std::span<float> scores) {
  std::map<int64_t, int64_t> counts;
  for (const int64_t id : generated) ++counts[id];
  for (const auto& [id, count] : counts) {
    if (!IsIn(scores, id)) continue;
    scores[id] = static_cast<float>(scores[id] - presence - frequency * static_cast<double>(count));
  }
}

}  // namespace

void ProcessScores(const GenerationOptions& options, std::span<const int64_t> ending_token_ids,
                   std::span<const int64_t> context, int64_t generated, std::span<float> scores) {
  for (const auto& [id, bias] : options.logit_bias) {
    if (IsIn(scores, id)) scores[id] = static_cast<float>(scores[id] + bias);
  }
  if (options.repetition_penalty != 1) {
    const std::vector<float> before(scores.begin(), scores.end());
    Penalise(before, context, options.repetition_penalty, scores);
  }
  if (options.presence_penalty != 0 || options.frequency_penalty != 0) {
    LowerRepeated(context.last(static_cast<size_t>(generated)), options.presence_penalty, options.frequency_penalty,
                  scores);
  }
  if (generated < options.min_new_tokens) Forbid(ending_token_ids, scores);
}

bool ChangesScores(const GenerationOptions& options, int64_t generated) {
  return !options.logit_bias.empty() || options.repetition_penalty != 1 || options.presence_penalty != 0 ||
         options.frequency_penalty != 0 || generated < options.min_new_tokens;
}

void Penalise(std::span<const float> raw, std::span<const int64_t> context, double penalty, std::span<float> scores) {
  constexpr double kMax = std::numeric_limits<float>::max();
  for (const int64_t id : context) {
    if (!IsIn(scores, id)) continue;
    const double logit = raw[id];
    scores[id] = static_cast<float>(std::clamp(logit < 0 ? logit * penalty : logit / penalty, -kMax, kMax));
  }
}

void Forbid(std::span<const int64_t> ids, std::span<float> scores) {
  for (const int64_t id : ids) {
    if (IsIn(scores, id)) scores[id] = -std::numeric_limits<float>::infinity();
  }
}

void AddLogprobs(std::span<const float> logits, int64_t count, ChosenToken& token) {
  if (count == 0) return;
  const LogSoftmax logprob(logits);
  token.logprob = logprob(token.id);
  for (const int64_t id : MostLikely(logits, count)) token.top.push_back({id, logprob(id)});
}

absl::StatusOr<std::vector<ChosenToken>> ScoreTokens(const at::Tensor& logits, std::span<const int64_t> ids,
                                                     int64_t count) {
  const c10::InferenceMode inference;
  const at::Tensor host = logits.to(at::kCPU, at::kFloat).contiguous();
  if (!at::isfinite(host).all().item<bool>()) {
    return absl::InternalError("the model's scores for a token of the prompt are not finite");
  }
  const at::Tensor logprobs = at::log_softmax(host, /*dim=*/1);
  const auto [values, places] = at::topk(logprobs, std::min(count, logprobs.size(1)));
  std::vector<ChosenToken> scored;
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const auto* of_row = logprobs.const_data_ptr<float>() + row * logprobs.size(1);
    scored.push_back({.id = ids[i], .logprob = of_row[ids[i]]});
    for (int64_t rank = row * values.size(1); rank < (row + 1) * values.size(1); ++rank) {
      scored.back().top.push_back({places.const_data_ptr<int64_t>()[rank], values.const_data_ptr<float>()[rank]});
    }
  }
  return scored;
}

}  // namespace diptych::blip2
