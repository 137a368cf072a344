#include "blip2/kernels/pair_attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "blip2/kernels/pair_linear.h"
#include "blip2/kernels/processor.h"
#include "blip2/kernels/share_out.h"
#include "blip2/kernels/uninitialized.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/pair_attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h, which they need.
#include <hwy/contrib/math/math-inl.h>

#include "blip2/kernels/pair_tile-inl.h"
#include "blip2/kernels/row_groups-inl.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using namespace pair_tile;  // NOLINT

// One head of one text or image after the other, on one thread. Keys lie as the weights of a product that gives scores,
// [keys, width]; values as those of one that takes shares, [width, keys].
template <typename Form>
class OneHead {
 public:
  explicit OneHead(const PairAttention& attention)
      : a_(attention),
        padded_keys_(Panels(a_.keys) * kPanel),
        padded_width_(Panels(a_.width) * kPanel),
        keys_(static_cast<size_t>(Panels(a_.keys) * PairPanelSize(a_.width))),
        values_(static_cast<size_t>(Panels(a_.width) * PairPanelSize(a_.keys))),
        tokens_(static_cast<size_t>(2 * padded_width_)),
        rows_(static_cast<size_t>(kMostRows * Form::kNumbers * std::max(Pairs(a_.width), Pairs(a_.keys)))),
        scores_(static_cast<size_t>(kMostRows * padded_keys_)),
        shares_(static_cast<size_t>(kMostRows * padded_keys_)) {}

  void Run(int64_t batch, int64_t head) {
    const auto start = [&](const StridedHeads& of) {
      return of.data + batch * of.batch_stride + head * of.head_stride;
    };
    PackKeys(start(a_.key));
    PackValues(start(a_.value));
    const RowGroups groups(a_.queries, kMostRows);
    for (int64_t group = 0; group < groups.count(); ++group) {
      const int64_t row = groups.Row(group);
      const c10::BFloat16* query = start(a_.query) + row * a_.query.token_stride;
      c10::BFloat16* out = a_.out + ((batch * a_.queries + row) * a_.heads + head) * a_.width;
      WithHeight<kMostRows>(groups.Height(group), [&](auto height) {
        Score<height()>(query);
        for (int r = 0; r < height(); ++r) Share(r);
        Mix<height()>(out);
      });
    }
  }

 private:
  void PackKeys(const c10::BFloat16* from) {
    const int64_t panel_size = PairPanelSize(a_.width);
    std::fill(keys_.end() - panel_size, keys_.end(), c10::BFloat16());
    for (int64_t token = 0; token < a_.keys; ++token, from += a_.key.token_stride) {
      c10::BFloat16* to = keys_.data() + token / kPanel * panel_size + token % kPanel * 2;
      for (int64_t pair = 0; pair < a_.width / 2; ++pair) std::memcpy(to + pair * 2 * kPanel, from + 2 * pair, 4);
      if (a_.width % 2 == 0) continue;
      to[a_.width / 2 * 2 * kPanel] = from[a_.width - 1];
      to[a_.width / 2 * 2 * kPanel + 1] = c10::BFloat16();
    }
  }

  // Two tokens side by side; beside the last of an odd number, zeros.
  void PackValues(const c10::BFloat16* from) {
    const auto* tokens = reinterpret_cast<const uint16_t*>(tokens_.data());
    for (int64_t pair = 0; pair < Pairs(a_.keys); ++pair) {
      for (int64_t i = 0; i < 2; ++i) {
        c10::BFloat16* to = tokens_.data() + i * padded_width_;
        const bool there = 2 * pair + i < a_.keys;
        if (there) std::copy_n(from + (2 * pair + i) * a_.value.token_stride, a_.width, to);
        std::fill(to + (there ? a_.width : 0), to + padded_width_, c10::BFloat16());
      }
      for (int64_t k = 0; k < padded_width_; k += kLanes) {
        const auto first = hn::PromoteTo(TagPairs(), hn::LoadU(TagRounded(), tokens + k));
        const auto second = hn::PromoteTo(TagPairs(), hn::LoadU(TagRounded(), tokens + padded_width_ + k));
        c10::BFloat16* to = values_.data() + k / kPanel * PairPanelSize(a_.keys) + 2 * (pair * kPanel + k % kPanel);
        hn::StoreU(hn::Or(first, hn::ShiftLeft<16>(second)), TagPairs(), reinterpret_cast<uint32_t*>(to));
      }
    }
  }

  // The sums of the group's rows, which are interleaved, with all panels of `weights`, kPanels at a time: calls
  // use(panel, row, sums).
  template <int kHeight, typename Use>
  HWY_INLINE void Product(const Uninitialized<c10::BFloat16>& weights, int64_t in, int64_t out, const Use& use) {
    const int64_t last = Panels(out) - 1;
    for (int64_t panel = 0; panel <= last; panel += kPanels) {
      Lines<kPanels> panels;
      for (int p = 0; p < kPanels; ++p) panels[p] = weights.data() + std::min(panel + p, last) * PairPanelSize(in);
      Sums sums[kHeight][kPanels];
      TileSums<Form>(panels, Pairs(in), rows_.data(), ReadAhead(), sums);
      for (int p = 0; p < kPanels && panel + p <= last; ++p) {
        for (int r = 0; r < kHeight; ++r) use(panel + p, r, sums[r][p]);
      }
    }
  }

  template <int kHeight>
  void Score(const c10::BFloat16* query) {
    InterleaveRows<Form>(query, a_.query.token_stride, a_.width, kHeight, rows_.data());
    Product<kHeight>(keys_, a_.width, a_.keys, [&](int64_t panel, int r, const Sums& sums) {
      float* to = scores_.data() + r * padded_keys_ + panel * kPanel;
      for (int v = 0; v < kVectors; ++v) hn::StoreU(sums.of[v], TagFloats(), to + v * kLanes);
    });
  }

  // Scores of one row become their exponentials over the largest, whose sum is left in totals_.
  void Share(int r) {
    float* scores = scores_.data() + r * padded_keys_;
    c10::BFloat16* shares = shares_.data() + r * padded_keys_;
    std::fill(scores + a_.keys, scores + padded_keys_, -std::numeric_limits<float>::infinity());
    const TagFloats d;
    Floats largest = hn::LoadU(d, scores);
    for (int64_t k = kLanes; k < padded_keys_; k += kLanes) largest = hn::Max(largest, hn::LoadU(d, scores + k));
    largest = hn::MaxOfLanes(d, largest);
    const Floats scale = hn::Set(d, a_.scale);
    Floats total = hn::Zero(d);
    for (int64_t k = 0; k < padded_keys_; k += kPanel) {
      Sums exponentials;
      for (int v = 0; v < kVectors; ++v) {
        const Floats below = hn::Mul(hn::Sub(hn::LoadU(d, scores + k + v * kLanes), largest), scale);
        exponentials.of[v] = hn::Exp(d, below);
        total = hn::Add(total, exponentials.of[v]);
      }
      StoreRounded<Form>(exponentials, kPanel, shares + k);
    }
    totals_[r] = hn::GetLane(hn::SumOfLanes(d, total));
  }

  template <int kHeight>
  void Mix(c10::BFloat16* out) {
    InterleaveRows<Form>(shares_.data(), padded_keys_, a_.keys, kHeight, rows_.data());
    Product<kHeight>(values_, a_.keys, a_.width, [&](int64_t panel, int r, Sums mixed) {
      for (Floats& sum : mixed.of) sum = hn::Mul(sum, hn::Set(TagFloats(), 1 / totals_[r]));
      StoreRounded<Form>(mixed, std::min(kPanel, a_.width - panel * kPanel),
                         out + r * a_.heads * a_.width + panel * kPanel);
    });
  }

  const PairAttention& a_;
  const int64_t padded_keys_;
  const int64_t padded_width_;
  Uninitialized<c10::BFloat16> keys_;
  Uninitialized<c10::BFloat16> values_;
  Uninitialized<c10::BFloat16> tokens_;        // [2, padded_width_]
  Uninitialized<typename Form::Number> rows_;  // of a group, interleaved
  Uninitialized<float> scores_;                // [kMostRows, padded_keys_]
  Uninitialized<c10::BFloat16> shares_;        // likewise
  float totals_[kMostRows] = {};
};

template <typename Form>
void AttendBy(const PairAttention& attention) {
  ShareOut(attention.batch * attention.heads, /*grain=*/1, [&](int64_t begin, int64_t end) {
    OneHead<Form> head(attention);
    for (int64_t i = begin; i < end; ++i) head.Run(i / attention.heads, i % attention.heads);
  });
}

void Attend(const PairAttention& attention) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64
  if (MultipliesPairs()) return AttendBy<ByInstruction>(attention);
#endif
  AttendBy<ByWidening>(attention);
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(Attend);

void AttendPairs(const PairAttention& attention) {
  HWY_DYNAMIC_DISPATCH(Attend)(attention);
}

}  // namespace diptych::blip2
#endif
