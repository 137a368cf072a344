#include "blip2/decoding/token_scores.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "blip2/device/transfer.h"

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

}  // namespace

std::vector<ScoreEdit> ScoreEdits(const GenerationOptions& options, std::span<const int64_t> ending_token_ids,
                                  std::span<const int64_t> context, int64_t generated, int64_t vocab_size) {
  absl::flat_hash_map<int64_t, ScoreEdit> edits;
  const auto for_each = [&](std::span<const int64_t> ids, const auto& change) {
    for (const int64_t id : ids) {
      if (id >= 0 && id < vocab_size) change(edits.try_emplace(id, ScoreEdit{.id = id}).first->second);
    }
  };
  for (const auto& [id, bias] : options.logit_bias) {
    for_each({&id, 1}, [bias = bias](ScoreEdit& edit) { edit.bias = bias; });
  }
  if (options.repetition_penalty != 1) {
    for_each(context, [&](ScoreEdit& edit) { edit.penalty = options.repetition_penalty; });
  }
  if (options.presence_penalty != 0 || options.frequency_penalty != 0) {
    for_each(context.last(static_cast<size_t>(generated)), [&](ScoreEdit& edit) {
      edit.presence = options.presence_penalty;
      edit.frequency += 1;  // how often, at first
    });
  }
  if (generated < options.min_new_tokens) for_each(ending_token_ids, [](ScoreEdit& edit) { edit.forbidden = true; });
  std::vector<ScoreEdit> result;
  for (auto& [id, edit] : edits) {
    edit.frequency *= options.frequency_penalty;
    result.push_back(edit);
  }
  return result;
}

bool DependsOnTokens(const GenerationOptions& options) {
  return options.repetition_penalty != 1 || options.presence_penalty != 0 || options.frequency_penalty != 0;
}

float Edited(float score, const ScoreEdit& edit) {
  if (edit.forbidden) return -std::numeric_limits<float>::infinity();
  constexpr double kMax = std::numeric_limits<float>::max();
  const double biased = static_cast<float>(score + edit.bias);
  const double penalised = std::clamp(biased < 0 ? biased * edit.penalty : biased / edit.penalty, -kMax, kMax);
  return static_cast<float>(static_cast<float>(penalised) - edit.presence - edit.frequency);
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
  const at::Tensor logprobs = at::log_softmax(logits.to(at::kFloat), /*dim=*/1);
  const auto [values, places] = at::topk(logprobs, std::min(count, logprobs.size(1)));
  const at::Tensor own = logprobs.gather(1, Upload({ids.begin(), ids.end()}, logits.device()).unsqueeze(1));
  const at::Tensor finite = logits.isfinite().all(1, /*keepdim=*/true);
  const std::vector<at::Tensor> columns = {finite.to(at::kDouble), own.to(at::kDouble), places.to(at::kDouble),
                                           values.to(at::kDouble)};
  const at::Tensor table = Download(at::cat(columns, 1));
  std::vector<ChosenToken> scored;
  for (size_t i = 0; i < ids.size(); ++i) {
    const double* row = table.const_data_ptr<double>() + static_cast<int64_t>(i) * table.size(1);
    if (row[0] == 0) return absl::InternalError("the model's scores for a token of the prompt are not finite");
    scored.push_back({.id = ids[i], .logprob = static_cast<float>(row[1])});
    for (int64_t rank = 0; rank < values.size(1); ++rank) {
      const double* place = row + 2 + rank;
      scored.back().top.push_back({static_cast<int64_t>(*place), static_cast<float>(place[values.size(1)])});
    }
  }
  return scored;
}

}  // namespace diptych::blip2
