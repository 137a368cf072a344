#include "blip2/kernels/pair_attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "blip2/kernels/amx_pairs.h"
#include "blip2/kernels/pair_linear.h"
#include "blip2/kernels/processor.h"
#include "blip2/kernels/share_out.h"
#include "blip2/kernels/uninitialized.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
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

constexpr int64_t RoundUp(int64_t count, int64_t unit) {
  return (count + unit - 1) / unit * unit;
}

// Keys and values of one head. Keys lie as the weights of a product that gives scores, [keys, width]; values as those
// of one that takes shares, [width, keys]. Inputs are padded to a multiple of `inputs`, outputs to one of `outputs`.
class PackedHead {
 public:
  PackedHead(const PairAttention& attention, int64_t inputs, int64_t outputs)
      : a_(attention),
        width_inputs_(RoundUp(a_.width, inputs)),
        width_outputs_(RoundUp(a_.width, outputs)),
        key_inputs_(RoundUp(a_.keys, inputs)),
        key_outputs_(RoundUp(a_.keys, outputs)),
        keys_(static_cast<size_t>(key_outputs_ * width_inputs_)),
        values_(static_cast<size_t>(width_outputs_ * key_inputs_)),
        tokens_(static_cast<size_t>(2 * width_outputs_)) {
    std::fill(keys_.begin(), keys_.end(), c10::BFloat16());  // what pads stays 0
  }

  void Pack(int64_t batch, int64_t head) {
    PackKeys(a_.key.At(batch, head, 0));
    PackValues(a_.value.At(batch, head, 0));
  }

  int64_t width_inputs() const { return width_inputs_; }
  int64_t width_outputs() const { return width_outputs_; }
  int64_t key_inputs() const { return key_inputs_; }
  int64_t key_outputs() const { return key_outputs_; }
  const c10::BFloat16* keys() const { return keys_.data(); }
  const c10::BFloat16* values() const { return values_.data(); }

 private:
  void PackKeys(const c10::BFloat16* from) {
    for (int64_t token = 0; token < a_.keys; ++token, from += a_.key.token_stride) {
      c10::BFloat16* to = keys_.data() + token / kPanel * PairPanelSize(width_inputs_) + token % kPanel * 2;
      for (int64_t pair = 0; pair < a_.width / 2; ++pair) std::memcpy(to + pair * 2 * kPanel, from + 2 * pair, 4);
      if (a_.width % 2 != 0) to[a_.width / 2 * 2 * kPanel] = from[a_.width - 1];
    }
  }

  // Two tokens side by side; where there is none, zeros.
  void PackValues(const c10::BFloat16* from) {
    const auto* tokens = reinterpret_cast<const uint16_t*>(tokens_.data());
    for (int64_t pair = 0; pair < Pairs(key_inputs_); ++pair) {
      for (int64_t i = 0; i < 2; ++i) {
        c10::BFloat16* to = tokens_.data() + i * width_outputs_;
        const bool there = 2 * pair + i < a_.keys;
        if (there) std::copy_n(from + (2 * pair + i) * a_.value.token_stride, a_.width, to);
        std::fill(to + (there ? a_.width : 0), to + width_outputs_, c10::BFloat16());
      }
      for (int64_t k = 0; k < width_outputs_; k += kLanes) {
        const auto first = hn::PromoteTo(TagPairs(), hn::LoadU(TagRounded(), tokens + k));
        const auto second = hn::PromoteTo(TagPairs(), hn::LoadU(TagRounded(), tokens + width_outputs_ + k));
        c10::BFloat16* to = values_.data() + k / kPanel * PairPanelSize(key_inputs_) + 2 * (pair * kPanel + k % kPanel);
        hn::StoreU(hn::Or(first, hn::ShiftLeft<16>(second)), TagPairs(), reinterpret_cast<uint32_t*>(to));
      }
    }
  }

  const PairAttention& a_;
  const int64_t width_inputs_;
  const int64_t width_outputs_;
  const int64_t key_inputs_;
  const int64_t key_outputs_;
  Uninitialized<c10::BFloat16> keys_;
  Uninitialized<c10::BFloat16> values_;
  Uninitialized<c10::BFloat16> tokens_;  // [2, width_outputs_]
};

// A row's scores become their exponentials over the largest, `panels` times kPanel of them, and are rounded. scores(p)
// and shares(p) are where panel p's lie. -> the sum of the exponentials
template <typename Form, typename Scores, typename Shares>
HWY_INLINE float Share(const PairAttention& a, int64_t panels, const Scores& scores, const Shares& shares) {
  const TagFloats d;
  for (int64_t k = a.keys; k < panels * kPanel; ++k) {
    scores(k / kPanel)[k % kPanel] = -std::numeric_limits<float>::infinity();
  }
  Floats largest = hn::LoadU(d, scores(0));
  for (int64_t p = 0; p < panels; ++p) {
    for (int v = 0; v < kVectors; ++v) largest = hn::Max(largest, hn::LoadU(d, scores(p) + v * kLanes));
  }
  largest = hn::MaxOfLanes(d, largest);
  const Floats scale = hn::Set(d, a.scale);
  Floats total = hn::Zero(d);
  for (int64_t p = 0; p < panels; ++p) {
    Sums exponentials;
    for (int v = 0; v < kVectors; ++v) {
      const Floats below = hn::Mul(hn::Sub(hn::LoadU(d, scores(p) + v * kLanes), largest), scale);
      exponentials.of[v] = hn::Exp(d, below);
      total = hn::Add(total, exponentials.of[v]);
    }
    StoreRounded<Form>(exponentials, kPanel, shares(p));
  }
  return hn::GetLane(hn::SumOfLanes(d, total));
}

// One head of one text or image after the other, on one thread.
template <typename Form>
class OneHead {
 public:
  explicit OneHead(const PairAttention& attention)
      : a_(attention),
        packed_(attention, /*inputs=*/2, /*outputs=*/kPanel),
        rows_(static_cast<size_t>(kMostRows * Form::kNumbers * std::max(Pairs(a_.width), Pairs(a_.keys)))),
        scores_(static_cast<size_t>(kMostRows * packed_.key_outputs())),
        shares_(static_cast<size_t>(kMostRows * packed_.key_outputs())) {}

  void Run(int64_t batch, int64_t head) {
    packed_.Pack(batch, head);
    const RowGroups groups(a_.queries, kMostRows);
    for (int64_t group = 0; group < groups.count(); ++group) {
      const int64_t row = groups.Row(group);
      WithHeight<kMostRows>(groups.Height(group), [&](auto height) {
        Score<height()>(a_.query.At(batch, head, row));
        for (int r = 0; r < height(); ++r) {
          float* scores = scores_.data() + r * packed_.key_outputs();
          c10::BFloat16* shares = shares_.data() + r * packed_.key_outputs();
          totals_[r] = Share<Form>(
              a_, packed_.key_outputs() / kPanel, [=](int64_t p) { return scores + p * kPanel; },
              [=](int64_t p) { return shares + p * kPanel; });
        }
        Mix<height()>(a_.Out(batch, head, row));
      });
    }
  }

 private:
  // The sums of the group's rows, which are interleaved, with all panels of `weights`, kPanels at a time: calls
  // use(panel, row, sums).
  template <int kHeight, typename Use>
  HWY_INLINE void Product(const c10::BFloat16* weights, int64_t in, int64_t out, const Use& use) {
    const int64_t last = Panels(out) - 1;
    for (int64_t panel = 0; panel <= last; panel += kPanels) {
      Lines<kPanels> panels;
      for (int p = 0; p < kPanels; ++p) panels[p] = weights + std::min(panel + p, last) * PairPanelSize(in);
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
    Product<kHeight>(packed_.keys(), a_.width, a_.keys, [&](int64_t panel, int r, const Sums& sums) {
      float* to = scores_.data() + r * packed_.key_outputs() + panel * kPanel;
      for (int v = 0; v < kVectors; ++v) hn::StoreU(sums.of[v], TagFloats(), to + v * kLanes);
    });
  }

  template <int kHeight>
  void Mix(c10::BFloat16* out) {
    InterleaveRows<Form>(shares_.data(), packed_.key_outputs(), a_.keys, kHeight, rows_.data());
    Product<kHeight>(packed_.values(), a_.keys, a_.width, [&](int64_t panel, int r, Sums mixed) {
      for (Floats& sum : mixed.of) sum = hn::Mul(sum, hn::Set(TagFloats(), 1 / totals_[r]));
      StoreRounded<Form>(mixed, std::min(kPanel, a_.width - panel * kPanel),
                         out + r * a_.heads * a_.width + panel * kPanel);
    });
  }

  const PairAttention& a_;
  PackedHead packed_;
  Uninitialized<typename Form::Number> rows_;  // of a group, interleaved
  Uninitialized<float> scores_;                // [kMostRows, keys]
  Uninitialized<c10::BFloat16> shares_;        // likewise
  float totals_[kMostRows] = {};
};

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64

// The same by the tiles of AMX, two of rows at a time.
class OneHeadByTiles {
 public:
  explicit OneHeadByTiles(const PairAttention& attention)
      : a_(attention),
        packed_(attention, /*inputs=*/kPairTileInputs, /*outputs=*/2 * kPanel),
        rows_(static_cast<size_t>(kRows * std::max(packed_.width_inputs(), packed_.key_inputs()))),
        sums_(static_cast<size_t>(kRows * std::max(packed_.key_outputs(), packed_.width_outputs()))) {
    std::fill(rows_.begin(), rows_.end(), c10::BFloat16());
  }

  void Run(int64_t batch, int64_t head) {
    packed_.Pack(batch, head);
    for (int64_t row = 0; row < a_.queries; row += kRows) {
      height_ = std::min(kRows, a_.queries - row);
      Arrange(a_.query.At(batch, head, row));
      Multiply(packed_.keys(), packed_.width_inputs(), packed_.key_outputs());
      for (int64_t r = 0; r < height_; ++r) {
        totals_[r] = Share<ByInstruction>(
            a_, packed_.key_outputs() / kPanel, [&](int64_t p) { return Sum(r, p); },
            [&](int64_t p) { return Number(r, p * kPanel, packed_.key_inputs()); });
      }
      Multiply(packed_.values(), packed_.key_inputs(), packed_.width_outputs());
      for (int64_t r = 0; r < height_; ++r) Mix(r, a_.Out(batch, head, row + r));
    }
  }

 private:
  static constexpr int64_t kRows = 2 * kPairTileRows;

  int64_t tiles() const { return (height_ + kPairTileRows - 1) / kPairTileRows; }

  // Input k of row r, in tiles of `inputs` inputs.
  c10::BFloat16* Number(int64_t r, int64_t k, int64_t inputs) {
    return rows_.data() + r / kPairTileRows * inputs * kPairTileRows +
           k / kPairTileInputs * kPairTileRows * kPairTileInputs + r % kPairTileRows * kPairTileInputs +
           k % kPairTileInputs;
  }
  // Row r's sums with panel p, as MultiplyArrangedPairs leaves them.
  float* Sum(int64_t r, int64_t p) {
    return sums_.data() + ((p / 2 * tiles() + r / kPairTileRows) * 2 + p % 2) * kPairTileRows * kPanel +
           r % kPairTileRows * kPanel;
  }

  void Arrange(const c10::BFloat16* from) {
    for (int64_t r = 0; r < height_; ++r, from += a_.query.token_stride) {
      ArrangePairs(from, a_.width, Number(r, 0, packed_.width_inputs()));
    }
  }

  void Multiply(const c10::BFloat16* weights, int64_t inputs, int64_t outputs) {
    MultiplyArrangedPairs(rows_.data(), tiles(), weights, outputs / (2 * kPanel), inputs / kPairTileInputs,
                          sums_.data());
  }

  void Mix(int64_t r, c10::BFloat16* out) {
    const Floats inverse = hn::Set(TagFloats(), 1 / totals_[r]);
    for (int64_t p = 0; p * kPanel < a_.width; ++p) {
      const Sums mixed = {.of = {hn::Mul(hn::LoadU(TagFloats(), Sum(r, p)), inverse)}};
      StoreRounded<ByInstruction>(mixed, std::min(kPanel, a_.width - p * kPanel), out + p * kPanel);
    }
  }

  const PairAttention& a_;
  PackedHead packed_;
  Uninitialized<c10::BFloat16> rows_;  // queries, then shares, in tiles
  Uninitialized<float> sums_;          // scores, then what the shares mix
  int64_t height_ = 0;
  float totals_[kRows] = {};
};

#endif

template <typename Head>
void AttendBy(const PairAttention& attention) {
  ShareOut(attention.batch * attention.heads, /*grain=*/1, [&](int64_t begin, int64_t end) {
    Head head(attention);
    for (int64_t i = begin; i < end; ++i) head.Run(i / attention.heads, i % attention.heads);
  });
}

void Attend(const PairAttention& attention) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64
  if (InstructionSetInUse() == InstructionSet::kAmx) return AttendBy<OneHeadByTiles>(attention);
  if (MultipliesPairs()) return AttendBy<OneHead<ByInstruction>>(attention);
#endif
  AttendBy<OneHead<ByWidening>>(attention);
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
