// Activations of a vector of numbers. Included once for each of Highway's targets, after highway.h.
#if defined(DIPTYCH_BLIP2_KERNELS_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DIPTYCH_BLIP2_KERNELS_EPILOGUE_INL_H_
#undef DIPTYCH_BLIP2_KERNELS_EPILOGUE_INL_H_
#else
#define DIPTYCH_BLIP2_KERNELS_EPILOGUE_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "blip2/kernels/epilogue.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {

namespace epilogue {

namespace hn = hwy::HWY_NAMESPACE;

// x·Φ(x) = x·erfc(-x/√2)/2, with erfc by Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26, which is
// off by 1.5e-7 at most.
template <typename D>
HWY_NOINLINE hn::Vec<D> Gelu(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0F);
  const auto z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678118654752F));
  const auto t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.3275911F), one));
  auto sum = hn::Set(d, 1.061405429F);
  for (const float coefficient : {-1.453152027F, 1.421413741F, -0.284496736F, 0.254829592F}) {
    sum = hn::MulAdd(sum, t, hn::Set(d, coefficient));
  }
  const auto tail = hn::Mul(hn::Mul(hn::Mul(sum, t), hn::Set(d, 0.5F)), hn::Exp(d, hn::Neg(hn::Mul(z, z))));
  return hn::Mul(x, hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail)));
}

// A number that is not finite never becomes one that is.
template <typename D>
HWY_INLINE hn::Vec<D> Activated(D d, Activation activation, hn::Vec<D> x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
    case Activation::kGelu:
      return Gelu(d, x);
  }
  return x;
}

}  // namespace epilogue

}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
