#include "blip2/token_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>
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

}  // namespace

void Penalise(std::span<const float> raw, std::span<const int64_t> context, double penalty, std::span<float> scores) {
  constexpr double kMax = std::numeric_limits<float>::max();
  for (const int64_t id : context) {
    if (id < 0 || id >= static_cast<int64_t>(scores.size())) continue;
    const double logit = raw[id];
    scores[id] = static_cast<float>(std::clamp(logit < 0 ? logit * penalty : logit / penalty, -kMax, kMax));
  }
}

void Forbid(std::span<const int64_t> ids, std::span<float> scores) {
  for (const int64_t id : ids) {
    if (id >= 0 && id < static_cast<int64_t>(scores.size())) scores[id] = -std::numeric_limits<float>::infinity();
  }
}

void AddLogprobs(std::span<const float> logits, int64_t count, ChosenToken& token) {
  if (count == 0) return;
  const LogSoftmax logprob(logits);
  token.logprob = logprob(token.id);
  for (const int64_t id : MostLikely(logits, count)) token.top.push_back({id, logprob(id)});
}

}  // namespace diptych::blip2
