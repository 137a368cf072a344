#include "blip2/kernels/pair_linear.h"

#include <c10/util/Half.h>

#include <algorithm>

#include "blip2/kernels/share_out.h"
#include "blip2/kernels/uninitialized.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs. Only those
// with AVX512_BF16 are ever asked.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/pair_linear.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h, which it needs.
#include "blip2/kernels/pair_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64

using namespace pair_tile;  // NOLINT

constexpr int64_t kLeastWork = 1 << 18;  // multiplications for which another thread is worth waking

// Rows in groups, each interleaved.
class GroupedRows {
 public:
  GroupedRows(const c10::BFloat16* x, int64_t rows, int64_t in) : groups_(rows), pairs_(Pairs(in)) {
    values_.resize(static_cast<size_t>(rows * pairs_));
    const int64_t grain = std::max<int64_t>(1, kLeastWork / (kMostRows * in));
    ShareOut(groups_.count(), grain, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; ++group) {
        InterleaveRows(x + groups_.Row(group) * in, in, in, groups_.Height(group),
                       values_.data() + groups_.Row(group) * pairs_);
      }
    });
  }

  const Groups& groups() const { return groups_; }
  const uint32_t* Values(int64_t group) const { return values_.data() + groups_.Row(group) * pairs_; }

 private:
  const Groups groups_;
  const int64_t pairs_;
  Uninitialized<uint32_t> values_;
};

// kHeight rows of a group with kPanels panels from `panel` on, as many as there are.
template <int kHeight>
HWY_INLINE void Tile(const PairWeights& weights, const uint32_t* x, int64_t panel, const ReadAhead& ahead,
                     c10::BFloat16* y) {
  const int64_t last = Panels(weights.out) - 1;
  const c10::BFloat16* panels[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    panels[p] = weights.values + std::min(panel + p, last) * PairPanelSize(weights.in);
  }
  Sums sums[kHeight][kPanels];
  TileSums(panels, Pairs(weights.in), x, ahead, sums);
  for (int p = 0; p < kPanels && panel + p <= last; ++p) {
    const int64_t output = (panel + p) * kPanel;
    const Sums bias = weights.bias == nullptr ? hn::Zero(TagSums()) : hn::LoadU(TagSums(), weights.bias + output);
    for (int r = 0; r < kHeight; ++r) {
      StoreRounded(hn::Add(sums[r][p], bias), std::min(kPanel, weights.out - output), y + r * weights.out + output);
    }
  }
}

void Multiply(const PairWeights& weights, const c10::BFloat16* x, int64_t rows, c10::BFloat16* y) {
  const GroupedRows grouped(x, rows, weights.in);
  const Groups& groups = grouped.groups();
  const int64_t grain = std::max<int64_t>(1, kLeastWork / std::max<int64_t>(weights.in * rows * kPanel * kPanels, 1));
  const int64_t two_panels = kPanels * PairPanelSize(weights.in) * static_cast<int64_t>(sizeof(*weights.values));
  ShareOut((Panels(weights.out) + kPanels - 1) / kPanels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin * kPanels; panel < end * kPanels; panel += kPanels) {
      for (int64_t group = 0; group < groups.count(); ++group) {
        const ReadAhead ahead = AheadOf(group, groups.count(), two_panels, Pairs(weights.in));
        WithHeight<kMostRows>(groups.Height(group), [&](auto height) {
          Tile<height()>(weights, grouped.Values(group), panel, ahead, y + groups.Row(group) * weights.out);
        });
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

c10::BFloat16 ToBFloat16(c10::BFloat16 number) {
  return number;
}
template <typename T>
c10::BFloat16 ToBFloat16(T number) {
  return static_cast<c10::BFloat16>(static_cast<float>(number));
}

// Row `row` of a panel [Pairs(in), kPanel, 2].
template <typename T>
void PackRow(const T* from, int64_t in, int64_t row, c10::BFloat16* panel) {
  c10::BFloat16* to = panel + 2 * row;
  for (int64_t k = 0; k + 1 < in; k += 2, to += 2 * kPanel) {
    to[0] = ToBFloat16(from[k]);
    to[1] = ToBFloat16(from[k + 1]);
  }
  if (in % 2 != 0) to[0] = ToBFloat16(from[in - 1]);
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
