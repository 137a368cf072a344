// Loads of a weight's or a value's type as vectors of float32. Included once for each of Highway's targets, after
// highway.h.
#if defined(DIPTYCH_BLIP2_KERNELS_WIDEN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DIPTYCH_BLIP2_KERNELS_WIDEN_INL_H_
#undef DIPTYCH_BLIP2_KERNELS_WIDEN_INL_H_
#else
#define DIPTYCH_BLIP2_KERNELS_WIDEN_INL_H_
#endif

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {

template <typename D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> Widen(D d, const float* from) {
  return hwy::HWY_NAMESPACE::LoadU(d, from);
}
template <typename D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> Widen(D d, const c10::BFloat16* from) {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::bfloat16_t, D>(), reinterpret_cast<const hwy::bfloat16_t*>(from)));
}
template <typename D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> Widen(D d, const c10::Half* from) {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), reinterpret_cast<const hwy::float16_t*>(from)));
}

template <typename D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> Widen(D d, const int8_t* from) {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<D>(), hn::LoadU(hn::Rebind<int8_t, D>(), from)));
}

}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
