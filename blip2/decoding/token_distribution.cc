#include "blip2/decoding/token_distribution.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace diptych::blip2 {
namespace {

// The k-th largest score; -inf if all stay. 0 keeps all.
float TopKThreshold(std::span<const float> scores, int64_t k) {
  if (k <= 0 || k >= static_cast<int64_t>(scores.size())) return kNever;
  std::vector<float> largest(static_cast<size_t>(k));
  std::partial_sort_copy(scores.begin(), scores.end(), largest.begin(), largest.end(), std::greater<>());
  return largest.back();
}

double Sum(const std::vector<TokenProbability>& tokens) {
  return std::accumulate(tokens.begin(), tokens.end(), 0.0,
                         [](double sum, const TokenProbability& token) { return sum + token.probability; });
}

// The most likely tokens, until they hold `top_p` together; of equals the lowest ids. A heap, because few
// of many tokens stay as a rule.
void KeepTopP(std::vector<TokenProbability>& tokens, double top_p) {
  const double enough = top_p * Sum(tokens);
  const auto less_likely = [](const TokenProbability& a, const TokenProbability& b) {
    return a.probability < b.probability || (a.probability == b.probability && a.id > b.id);
  };
  std::make_heap(tokens.begin(), tokens.end(), less_likely);
  auto kept = tokens.end();  // the kept ones gather behind the heap
  for (double held = 0; kept != tokens.begin() && held < enough; held += kept->probability) {
    std::pop_heap(tokens.begin(), kept--, less_likely);
  }
  tokens.erase(tokens.begin(), kept);
  std::sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
}

}  // namespace

std::vector<TokenProbability> SamplingDistribution(std::span<const float> scores, const GenerationOptions& options) {
  std::vector<TokenProbability> tokens;
  if (scores.empty()) return tokens;
  const float threshold = TopKThreshold(scores, options.top_k);
  // Differences from the best score are divided, not scores: a tiny temperature then overflows to
  // probability 0, never to infinity minus infinity.
  const double best = *std::max_element(scores.begin(), scores.end());
  for (size_t id = 0; id < scores.size(); ++id) {
    if (scores[id] == kNever || scores[id] < threshold) continue;
    tokens.push_back({static_cast<int64_t>(id), std::exp((scores[id] - best) / options.temperature)});
  }
  if (options.top_p < 1) KeepTopP(tokens, options.top_p);
  // The best token has probability 1 here, and no filter takes it away.
  std::erase_if(tokens, [&](const TokenProbability& token) { return token.probability < options.min_p; });
  const double sum = Sum(tokens);
  for (TokenProbability& token : tokens) token.probability /= sum;
  return tokens;
}

}  // namespace diptych::blip2
