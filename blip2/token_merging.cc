#include "blip2/token_merging.h"

#include <ATen/ATen.h>

#include <limits>

namespace diptych::blip2 {
namespace {

// Every second token from `first` on.
at::Tensor EverySecond(const at::Tensor& x, int64_t first) {
  return x.slice(1, first, std::numeric_limits<int64_t>::max(), 2);
}

// rows [B, n] of x [B, P, D] -> [B, n, D]
at::Tensor GatherRows(const at::Tensor& x, const at::Tensor& rows) {
  return x.gather(1, rows.unsqueeze(2).expand({-1, -1, x.size(2)}));
}

// Which of the even tokens stay, which are merged, and into which odd token each.
struct Matching {
  at::Tensor kept;    // [B, A - count], ascending
  at::Tensor merged;  // [B, count]
  at::Tensor into;    // [B, O, count] float32: 1 where an odd token takes in a merged one
};

Matching Match(const at::Tensor& keys, int64_t count) {
  const at::Tensor metric = keys.to(at::kFloat);
  const at::Tensor unit = metric / metric.norm(2, -1, /*keepdim=*/true).clamp_min(1e-12);
  at::Tensor scores = at::bmm(EverySecond(unit, 0), EverySecond(unit, 1).transpose(1, 2));  // [B, A, O]
  scores.select(1, 0).fill_(-std::numeric_limits<float>::infinity());                       // the class token
  const auto [best, partner] = scores.max(-1);
  const at::Tensor order = at::argsort(best, /*stable=*/true, /*dim=*/1, /*descending=*/true);
  const at::Tensor merged = order.slice(1, 0, count);
  at::Tensor into = at::zeros({keys.size(0), scores.size(2), count}, metric.options());
  into.scatter_(1, partner.gather(1, merged).unsqueeze(1), 1.0);
  return {.kept = std::get<0>(order.slice(1, count).sort(1)), .merged = merged, .into = into};
}

// Sums over what is merged; x [B, P, D] float32. A product with ones in place of scatter_add, whose order of summing is
// not fixed on a GPU.
at::Tensor SumMerged(const at::Tensor& x, const Matching& matching) {
  const at::Tensor even = EverySecond(x, 0);
  const at::Tensor odd = EverySecond(x, 1) + at::bmm(matching.into, GatherRows(even, matching.merged));
  return at::cat({GatherRows(even, matching.kept), odd}, 1);
}

}  // namespace

MergedTokens MergeTokens(const MergedTokens& input, const at::Tensor& keys, int64_t count) {
  const at::Tensor x = input.tokens.to(at::kFloat);
  const at::Tensor sizes = input.sizes.defined() ? input.sizes : at::ones({x.size(0), x.size(1), 1}, x.options());
  const Matching matching = Match(keys, count);
  MergedTokens merged;
  merged.sizes = SumMerged(sizes, matching);
  merged.tokens = (SumMerged(x * sizes, matching) / merged.sizes).to(input.tokens.scalar_type());
  return merged;
}

at::Tensor AttentionBias(const at::Tensor& sizes, at::ScalarType dtype) {
  return sizes.log().transpose(1, 2).unsqueeze(1).to(dtype);
}

}  // namespace diptych::blip2
