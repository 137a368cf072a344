#include "blip2/kernels/pair_attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "blip2/kernels/pair_linear.h"
#include "blip2/kernels/share_out.h"
#include "blip2/kernels/uninitialized.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs. Only those
// with AVX512_BF16 are ever asked.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/pair_attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h, which they need.
#include <hwy/contrib/math/math-inl.h>

#include "blip2/kernels/pair_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64

using namespace pair_tile;  // NOLINT

// One head of one text or image after the other, on one thread. Keys lie as the weights of a product that gives scores,
// [keys, width]; values as those of one that takes shares, [width, keys].
class OneHead {
 public:
  explicit OneHead(const PairAttention& attention)
      : a_(attention),
        padded_keys_(Panels(a_.keys) * kPanel),
        padded_width_(Panels(a_.width) * kPanel),
        keys_(static_cast<size_t>(Panels(a_.keys) * PairPanelSize(a_.width))),
        values_(static_cast<size_t>(Panels(a_.width) * PairPanelSize(a_.keys))),
        tokens_(static_cast<size_t>(2 * padded_width_)),
        rows_(static_cast<size_t>(kMostRows * std::max(Pairs(a_.width), Pairs(a_.keys)))),
        scores_(static_cast<size_t>(kMostRows * padded_keys_)),
        shares_(static_cast<size_t>(kMostRows * padded_keys_)) {}

  void Run(int64_t batch, int64_t head) {
    const auto start = [&](const StridedHeads& of) {
      return of.data + batch * of.batch_stride + head * of.head_stride;
    };
    PackKeys(start(a_.key));
    PackValues(start(a_.value));
    const Groups groups(a_.queries);
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
    const hn::Rebind<uint16_t, TagPairs> d16;
    const auto* tokens = reinterpret_cast<const uint16_t*>(tokens_.data());
    for (int64_t pair = 0; pair < Pairs(a_.keys); ++pair) {
      for (int64_t i = 0; i < 2; ++i) {
        c10::BFloat16* to = tokens_.data() + i * padded_width_;
        const bool there = 2 * pair + i < a_.keys;
        if (there) std::copy_n(from + (2 * pair + i) * a_.value.token_stride, a_.width, to);
        std::fill(to + (there ? a_.width : 0), to + padded_width_, c10::BFloat16());
      }
      for (int64_t panel = 0; panel < Panels(a_.width); ++panel) {
        const auto first = hn::PromoteTo(TagPairs(), hn::LoadU(d16, tokens + panel * kPanel));
        const auto second = hn::PromoteTo(TagPairs(), hn::LoadU(d16, tokens + padded_width_ + panel * kPanel));
        c10::BFloat16* to = values_.data() + panel * PairPanelSize(a_.keys) + pair * 2 * kPanel;
        hn::StoreU(hn::Or(first, hn::ShiftLeft<16>(second)), TagPairs(), reinterpret_cast<uint32_t*>(to));
      }
    }
  }

  // The sums of the group's rows, which are interleaved, with all panels of `weights`, two at a time: calls
  // use(panel, kHeight sums).
  template <int kHeight, typename Use>
  HWY_INLINE void Product(const Uninitialized<c10::BFloat16>& weights, int64_t in, int64_t out, const Use& use) {
    const int64_t last = Panels(out) - 1;
    for (int64_t panel = 0; panel <= last; panel += kPanels) {
      const c10::BFloat16* panels[kPanels];
      for (int p = 0; p < kPanels; ++p) panels[p] = weights.data() + std::min(panel + p, last) * PairPanelSize(in);
      Sums sums[kHeight][kPanels];
      TileSums(panels, Pairs(in), rows_.data(), ReadAhead(), sums);
      for (int p = 0; p < kPanels && panel + p <= last; ++p) {
        for (int r = 0; r < kHeight; ++r) use(panel + p, r, sums[r][p]);
      }
    }
  }

  template <int kHeight>
  void Score(const c10::BFloat16* query) {
    InterleaveRows(query, a_.query.token_stride, a_.width, kHeight, rows_.data());
    Product<kHeight>(keys_, a_.width, a_.keys, [&](int64_t panel, int r, Sums sums) {
      hn::StoreU(sums, TagSums(), scores_.data() + r * padded_keys_ + panel * kPanel);
    });
  }

  // Scores of one row become their exponentials over the largest, whose sum is left in totals_.
  void Share(int r) {
    float* scores = scores_.data() + r * padded_keys_;
    c10::BFloat16* shares = shares_.data() + r * padded_keys_;
    std::fill(scores + a_.keys, scores + padded_keys_, -std::numeric_limits<float>::infinity());
    Sums largest = hn::LoadU(TagSums(), scores);
    for (int64_t k = kPanel; k < padded_keys_; k += kPanel)
      largest = hn::Max(largest, hn::LoadU(TagSums(), scores + k));
    const Sums scale = hn::Set(TagSums(), a_.scale);
    largest = hn::MaxOfLanes(TagSums(), largest);
    Sums total = hn::Zero(TagSums());
    for (int64_t k = 0; k < padded_keys_; k += kPanel) {
      const Sums below = hn::Mul(hn::Sub(hn::LoadU(TagSums(), scores + k), largest), scale);
      const Sums exponentials = hn::Exp(TagSums(), below);
      total = hn::Add(total, exponentials);
      StoreRounded(exponentials, kPanel, shares + k);
    }
    totals_[r] = hn::GetLane(hn::SumOfLanes(TagSums(), total));
  }

  template <int kHeight>
  void Mix(c10::BFloat16* out) {
    InterleaveRows(shares_.data(), padded_keys_, a_.keys, kHeight, rows_.data());
    Product<kHeight>(values_, a_.keys, a_.width, [&](int64_t panel, int r, Sums sums) {
      const Sums mixed = hn::Mul(sums, hn::Set(TagSums(), 1 / totals_[r]));
      StoreRounded(mixed, std::min(kPanel, a_.width - panel * kPanel), out + r * a_.heads * a_.width + panel * kPanel);
    });
  }

  const PairAttention& a_;
  const int64_t padded_keys_;
  const int64_t padded_width_;
  Uninitialized<c10::BFloat16> keys_;
  Uninitialized<c10::BFloat16> values_;
  Uninitialized<c10::BFloat16> tokens_;  // [2, padded_width_]
  Uninitialized<uint32_t> rows_;         // of a group, interleaved
  Uninitialized<float> scores_;          // [kMostRows, padded_keys_]
  Uninitialized<c10::BFloat16> shares_;  // likewise
  float totals_[kMostRows] = {};
};

void Attend(const PairAttention& attention) {
  ShareOut(attention.batch * attention.heads, /*grain=*/1, [&](int64_t begin, int64_t end) {
    OneHead head(attention);
    for (int64_t i = begin; i < end; ++i) head.Run(i / attention.heads, i % attention.heads);
  });
}

#else

void Attend(const PairAttention&) {}

#endif

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
