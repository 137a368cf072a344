// Cuts the rows of a product into groups whose sums stay in registers. Included once for each of Highway's targets,
// after highway.h.
#if defined(DIPTYCH_BLIP2_KERNELS_ROW_GROUPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DIPTYCH_BLIP2_KERNELS_ROW_GROUPS_INL_H_
#undef DIPTYCH_BLIP2_KERNELS_ROW_GROUPS_INL_H_
#else
#define DIPTYCH_BLIP2_KERNELS_ROW_GROUPS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {

// As few groups of at most `most` rows as there can be; their heights differ by one at most. Requires: rows >= 1.
class RowGroups {
 public:
  RowGroups(int64_t rows, int64_t most) : rows_(rows), count_((rows + most - 1) / most) {}
  int64_t count() const { return count_; }
  // The first row of a group; that of group count() is the number of rows.
  int64_t Row(int64_t group) const { return group * (rows_ / count_) + std::min(group, rows_ % count_); }
  int64_t Height(int64_t group) const { return Row(group + 1) - Row(group); }

 private:
  int64_t rows_;
  int64_t count_;
};

// Calls use(std::integral_constant) with `height`, which is 1 to kMost.
template <int kMost, typename Use>
HWY_INLINE void WithHeight(int64_t height, const Use& use) {
  if constexpr (kMost > 0) {
    if (height == kMost) return use(std::integral_constant<int, kMost>());
    WithHeight<kMost - 1>(height, use);
  }
}

}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
