#include "blip2/kernels/epilogue.h"

#include "blip2/kernels/share_out.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/epilogue.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h, which it needs.
#include "blip2/kernels/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kGrain = 1 << 14;  // numbers for which another thread is worth waking

template <typename D>
HWY_INLINE void FinishVector(D d, const Epilogue<float>& steps, int64_t at, float* y) {
  auto value = epilogue::Activated(d, steps.activation, hn::LoadU(d, y + at));
  if (steps.residual != nullptr) value = hn::Add(value, hn::LoadU(d, steps.residual + at));
  hn::StoreU(value, d, y + at);
}

void FinishAll(const Epilogue<float>& steps, int64_t count, float* y) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  ShareOut(count, kGrain, [&](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) FinishVector(d, steps, i, y);
    for (; i < end; ++i) FinishVector(one, steps, i, y);
  });
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(FinishAll);

void Finish(const Epilogue<float>& epilogue, int64_t count, float* y) {
  if (epilogue.activation == Activation::kNone && epilogue.residual == nullptr) return;
  HWY_DYNAMIC_DISPATCH(FinishAll)(epilogue, count, y);
}

}  // namespace diptych::blip2
#endif
