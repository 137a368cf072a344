#include "blip2/kernels/pair_linear.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cstring>

#include "blip2/kernels/share_out.h"
#include "blip2/kernels/uninitialized.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs. Only those
// with AVX512_BF16 are ever asked.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/pair_linear.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64

constexpr int64_t kLeastWork = 1 << 18;  // multiplications for which another thread is worth waking
constexpr int64_t kAhead = 1024;         // numbers
constexpr int kPanels = 2;               // whose sums stay in registers for
constexpr int kMostRows = 12;            // so many rows

using TagSums = hn::CappedTag<float, kPanel>;
using Sums = hn::Vec<TagSums>;
using TagPairs = hn::Rebind<uint32_t, TagSums>;
using VecPairs = hn::Vec<TagPairs>;

HWY_INLINE Sums AddPairProducts(VecPairs a, VecPairs b, Sums sum) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
  return sum;
}

HWY_INLINE VecPairs LoadPairs(const c10::BFloat16* from) {
  hwy::Prefetch(from + kAhead);
  return hn::LoadU(TagPairs(), reinterpret_cast<const uint32_t*>(from));
}

// Rounds 16 sums and stores the first `count`.
HWY_INLINE void StoreRounded(Sums sums, int64_t count, c10::BFloat16* to) {
  hn::Vec<hn::CappedTag<uint16_t, kPanel>> rounded;
  asm("vcvtneps2bf16 %1, %0" : "=v"(rounded.raw) : "v"(sums.raw));
  hn::BlendedStore(rounded, hn::FirstN(hn::CappedTag<uint16_t, kPanel>(), static_cast<size_t>(count)),
                   hn::CappedTag<uint16_t, kPanel>(), reinterpret_cast<uint16_t*>(to));
}

// Rows in groups of much the same height, kMostRows at most; in a group the pairs of its rows take turns, so that a
// tile reads one stream.
class GroupedRows {
 public:
  GroupedRows(const c10::BFloat16* x, int64_t rows, int64_t in)
      : rows_(rows), in_(in), groups_((rows + kMostRows - 1) / kMostRows) {
    pairs_.resize(static_cast<size_t>(rows * Pairs(in)));
    const int64_t grain = std::max<int64_t>(1, kLeastWork / (kMostRows * in));
    ShareOut(groups_, grain, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; ++group) Pack(x + Row(group) * in_, Height(group), At(group));
    });
  }

  int64_t groups() const { return groups_; }
  int64_t Row(int64_t group) const { return group * (rows_ / groups_) + std::min(group, rows_ % groups_); }
  int64_t Height(int64_t group) const { return Row(group + 1) - Row(group); }
  const uint32_t* Values(int64_t group) const { return pairs_.data() + Row(group) * Pairs(in_); }

 private:
  uint32_t* At(int64_t group) { return pairs_.data() + Row(group) * Pairs(in_); }

  void Pack(const c10::BFloat16* from, int64_t height, uint32_t* to) const {
    for (int64_t r = 0; r < height; ++r, from += in_) {
      for (int64_t pair = 0; pair < in_ / 2; ++pair) std::memcpy(to + pair * height + r, from + 2 * pair, 4);
      if (in_ % 2 != 0) to[in_ / 2 * height + r] = from[in_ - 1].x;
    }
  }

  const int64_t rows_;
  const int64_t in_;
  const int64_t groups_;
  Uninitialized<uint32_t> pairs_;  // [group][pair][row]
};

// kHeight rows of a group with kPanels panels from `panel` on, as many as there are.
template <int kHeight>
HWY_INLINE void Tile(const PairWeights& weights, const uint32_t* x, int64_t panel, c10::BFloat16* y) {
  const TagSums d;
  const int64_t pairs = Pairs(weights.in);
  const int64_t last = Panels(weights.out) - 1;
  const c10::BFloat16* panels[kPanels];
  Sums sums[kHeight][kPanels];
  for (int p = 0; p < kPanels; ++p) {
    panels[p] = weights.values + std::min(panel + p, last) * PairPanelSize(weights.in);
    for (int r = 0; r < kHeight; ++r) sums[r][p] = hn::Zero(d);
  }
  for (int64_t pair = 0; pair < pairs; ++pair, x += kHeight) {
    VecPairs of_weights[kPanels];
    for (int p = 0; p < kPanels; ++p) of_weights[p] = LoadPairs(panels[p] + pair * 2 * kPanel);
    for (int r = 0; r < kHeight; ++r) {
      const VecPairs numbers = hn::Set(TagPairs(), x[r]);
      for (int p = 0; p < kPanels; ++p) sums[r][p] = AddPairProducts(of_weights[p], numbers, sums[r][p]);
    }
  }
  for (int p = 0; p < kPanels && panel + p <= last; ++p) {
    const int64_t output = (panel + p) * kPanel;
    const Sums bias = weights.bias == nullptr ? hn::Zero(d) : hn::LoadU(d, weights.bias + output);
    for (int r = 0; r < kHeight; ++r) {
      StoreRounded(hn::Add(sums[r][p], bias), std::min(kPanel, weights.out - output), y + r * weights.out + output);
    }
  }
}

template <int kHeight>
HWY_INLINE void Group(const PairWeights& weights, const uint32_t* x, int64_t height, int64_t panel, c10::BFloat16* y) {
  if constexpr (kHeight > 0) {
    if (height == kHeight) return Tile<kHeight>(weights, x, panel, y);
    Group<kHeight - 1>(weights, x, height, panel, y);
  }
}

void Multiply(const PairWeights& weights, const c10::BFloat16* x, int64_t rows, c10::BFloat16* y) {
  const GroupedRows grouped(x, rows, weights.in);
  const int64_t grain = std::max<int64_t>(1, kLeastWork / std::max<int64_t>(weights.in * rows * kPanel * kPanels, 1));
  ShareOut((Panels(weights.out) + kPanels - 1) / kPanels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin * kPanels; panel < end * kPanels; panel += kPanels) {
      for (int64_t group = 0; group < grouped.groups(); ++group) {
        Group<kMostRows>(weights, grouped.Values(group), grouped.Height(group), panel,
                         y + grouped.Row(group) * weights.out);
      }
    }
  });
}

#else

void Multiply(const PairWeights&, const c10::BFloat16*, int64_t, c10::BFloat16*) {}

#endif

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {
namespace {

// Row `row` of a panel [Pairs(in), kPanel, 2].
template <typename T>
void PackRow(const T* from, int64_t in, int64_t row, c10::BFloat16* panel) {
  for (int64_t k = 0; k < in; ++k) {
    panel[k / 2 * 2 * kPanel + 2 * row + k % 2] = static_cast<c10::BFloat16>(static_cast<float>(from[k]));
  }
}

// Row `row` of the matrix, which is the panel's `row` % kPanel.
void PackRowOfMatrix(const FloatMatrix& matrix, int64_t row, c10::BFloat16* panel) {
  int64_t in_block = row;
  auto block = matrix.blocks.begin();
  for (; in_block >= block->rows; ++block) in_block -= block->rows;
  const auto pack = [&](const auto* data) { PackRow(data + in_block * matrix.in, matrix.in, row % kPanel, panel); };
  switch (block->type) {
    case WeightType::kFloat32:
      return pack(static_cast<const float*>(block->data));
    case WeightType::kBFloat16:
      return pack(static_cast<const c10::BFloat16*>(block->data));
    case WeightType::kFloat16:
      return pack(static_cast<const c10::Half*>(block->data));
  }
}

}  // namespace

void PackPairs(const FloatMatrix& weight, c10::BFloat16* values) {
  const int64_t out = weight.out();
  ShareOut(Panels(out), 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      c10::BFloat16* to = values + panel * PairPanelSize(weight.in);
      if (weight.in % 2 != 0 || panel == Panels(out) - 1) std::fill_n(to, PairPanelSize(weight.in), c10::BFloat16());
      for (int64_t row = panel * kPanel; row < std::min((panel + 1) * kPanel, out); ++row) {
        PackRowOfMatrix(weight, row, to);
      }
    }
  });
}

HWY_EXPORT(Multiply);

void MultiplyPairPanels(const PairWeights& weights, const c10::BFloat16* x, int64_t rows, c10::BFloat16* y) {
  HWY_DYNAMIC_DISPATCH(Multiply)(weights, x, rows, y);
}

}  // namespace diptych::blip2
#endif
