#include "blip2/kernels/pair_linear.h"

#include <c10/util/Half.h>

#include <algorithm>

#include "blip2/kernels/amx_pairs.h"
#include "blip2/kernels/processor.h"
#include "blip2/kernels/share_out.h"
#include "blip2/kernels/uninitialized.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/pair_linear.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h, which they need.
#include "blip2/kernels/epilogue-inl.h"
#include "blip2/kernels/pair_tile-inl.h"
#include "blip2/kernels/row_groups-inl.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using namespace pair_tile;  // NOLINT

constexpr int64_t kLeastWork = 1 << 18;  // multiplications for which another thread is worth waking

// Rows in groups, each interleaved.
template <typename Form>
class GroupedRows {
 public:
  GroupedRows(const c10::BFloat16* x, int64_t rows, int64_t in)
      : groups_(rows, MostOf(rows)), numbers_(Pairs(in) * Form::kNumbers) {
    values_.resize(static_cast<size_t>(rows * numbers_));
    const int64_t grain = std::max<int64_t>(1, kLeastWork / (kMostRows * in));
    ShareOut(groups_.count(), grain, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; ++group) {
        InterleaveRows<Form>(x + groups_.Row(group) * in, in, in, groups_.Height(group),
                             values_.data() + groups_.Row(group) * numbers_);
      }
    });
  }

  const RowGroups& groups() const { return groups_; }
  const typename Form::Number* Values(int64_t group) const { return values_.data() + groups_.Row(group) * numbers_; }

 private:
  const RowGroups groups_;
  const int64_t numbers_;  // of a row
  Uninitialized<typename Form::Number> values_;
};

// kHeight rows of a group with PanelsOf(kHeight) panels from `panel` on, as many as there are -> sums [kHeight, panels,
// kPanel].
template <typename Form, int kHeight>
HWY_INLINE void Tile(const PairWeights& weights, const typename Form::Number* x, int64_t panel, const ReadAhead& ahead,
                     float* to) {
  constexpr int kCount = PanelsOf(kHeight);
  const int64_t last = Panels(weights.out) - 1;
  Lines<kCount> panels;
  for (int p = 0; p < kCount; ++p) {
    panels[p] = weights.values + std::min(panel + p, last) * PairPanelSize(weights.in);
  }
  Sums sums[kHeight][kCount];
  TileSums<Form>(panels, Pairs(weights.in), x, ahead, sums);
  for (int p = 0; p < kCount && panel + p <= last; ++p) {
    HWY_UNROLL(32)
    for (int r = 0; r < kHeight; ++r) {
      for (int v = 0; v < kVectors; ++v) {
        hn::StoreU(sums[r][p].of[v], TagFloats(), to + (r * kCount + p) * kPanel + v * kLanes);
      }
    }
  }
}

HWY_INLINE Floats LoadNumbers(const float* from) {
  return hn::LoadU(TagFloats(), from);
}
HWY_INLINE Floats LoadNumbers(const c10::BFloat16* from) {
  const auto bits = hn::LoadU(TagRounded(), reinterpret_cast<const uint16_t*>(from));
  return hn::BitCast(TagFloats(), hn::ShiftLeft<16>(hn::PromoteTo(TagPairs(), bits)));
}
template <typename Form>
HWY_INLINE void StoreNumbers(Floats numbers, float* to) {
  hn::StoreU(numbers, TagFloats(), to);
}
template <typename Form>
HWY_INLINE void StoreNumbers(Floats numbers, c10::BFloat16* to) {
  hn::StoreU(Form::Rounded(numbers), TagRounded(), reinterpret_cast<uint16_t*>(to));
}

// From a panel's sums of one row to its outputs at `at` in y. All kPanel of them are there.
template <typename Form, typename T>
HWY_INLINE void FinishPanel(const float* sums, const float* bias, const Epilogue<T>& steps, int64_t at, T* y) {
  for (int64_t i = 0; i < kPanel; i += kLanes) {
    Floats value = hn::LoadU(TagFloats(), sums + i);
    if (bias != nullptr) value = hn::Add(value, hn::LoadU(TagFloats(), bias + i));
    value = epilogue::Activated(TagFloats(), steps.activation, value);
    if (steps.residual != nullptr) value = hn::Add(value, LoadNumbers(steps.residual + at + i));
    StoreNumbers<Form>(value, y + at + i);
  }
}

// The same for the last panel, which may be wider than the matrix.
template <typename Form, typename T>
void FinishPart(const float* sums, const float* bias, const Epilogue<T>& steps, int64_t at, int64_t count, T* y) {
  T residual[kPanel] = {}, outputs[kPanel];
  if (steps.residual != nullptr) std::copy_n(steps.residual + at, count, residual);
  FinishPanel<Form, T>(sums, bias, {.activation = steps.activation, .residual = residual}, 0, outputs);
  std::copy_n(outputs, count, y + at);
}

// Of sums [height, panels, kPanel]: `height` rows from `row` on with the panels from `panel` on, as many as there are.
template <typename Form, typename T>
void FinishTile(const PairWeights& weights, const float* sums, int64_t row, int64_t height, int64_t panel,
                int64_t panels, const Epilogue<T>& steps, T* y) {
  for (int64_t p = 0; p < panels && panel + p < Panels(weights.out); ++p) {
    const int64_t output = (panel + p) * kPanel, count = std::min(kPanel, weights.out - output);
    const float* bias = weights.bias == nullptr ? nullptr : weights.bias + output;
    for (int64_t r = 0; r < height; ++r) {
      const float* from = sums + (r * panels + p) * kPanel;
      const int64_t at = (row + r) * weights.out + output;
      if (count == kPanel) {
        FinishPanel<Form, T>(from, bias, steps, at, y);
      } else {
        FinishPart<Form, T>(from, bias, steps, at, count, y);
      }
    }
  }
}

template <typename Form, typename T>
void MultiplyBy(const PairWeights& weights, const c10::BFloat16* x, int64_t rows, const Epilogue<T>& steps, T* y) {
  const GroupedRows<Form> grouped(x, rows, weights.in);
  const RowGroups& groups = grouped.groups();
  const int64_t panels = PanelsOf(groups.Height(0));
  const int64_t grain = std::max<int64_t>(1, kLeastWork / std::max<int64_t>(weights.in * rows * kPanel * panels, 1));
  const int64_t of_a_tile = panels * PairPanelSize(weights.in) * static_cast<int64_t>(sizeof(*weights.values));
  ShareOut((Panels(weights.out) + panels - 1) / panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin * panels; panel < end * panels; panel += panels) {
      for (int64_t group = 0; group < groups.count(); ++group) {
        alignas(64) float sums[kTallRows * kPanel];
        const ReadAhead ahead = AheadOf(group, groups.count(), of_a_tile, Pairs(weights.in));
        WithHeight<kTallRows>(groups.Height(group), [&](auto height) {
          Tile<Form, height()>(weights, grouped.Values(group), panel, ahead, sums);
        });
        FinishTile<Form, T>(weights, sums, groups.Row(group), groups.Height(group), panel,
                            PanelsOf(groups.Height(group)), steps, y);
      }
    }
  });
}

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64
template <typename T>
void MultiplyByTiles(const PairWeights& weights, const c10::BFloat16* x, int64_t rows, const Epilogue<T>& steps, T* y) {
  MultiplyPairTiles(weights, x, rows, [&](int64_t row, int64_t count, int64_t panel, const float* sums) {
    FinishTile<ByInstruction, T>(weights, sums, row, count, panel, /*panels=*/1, steps, y);
  });
}
#endif

template <typename T>
void Multiply(const PairWeights& weights, const c10::BFloat16* x, int64_t rows, const Epilogue<T>& steps, T* y) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64
  if (InstructionSetInUse() == InstructionSet::kAmx) return MultiplyByTiles<T>(weights, x, rows, steps, y);
  if (MultipliesPairs()) return MultiplyBy<ByInstruction, T>(weights, x, rows, steps, y);
#endif
  MultiplyBy<ByWidening, T>(weights, x, rows, steps, y);
}

void MultiplyToPairs(const PairWeights& weights, const c10::BFloat16* x, int64_t rows,
                     const Epilogue<c10::BFloat16>& steps, c10::BFloat16* y) {
  Multiply(weights, x, rows, steps, y);
}
void MultiplyToFloats(const PairWeights& weights, const c10::BFloat16* x, int64_t rows, const Epilogue<float>& steps,
                      float* y) {
  Multiply(weights, x, rows, steps, y);
}

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

HWY_EXPORT(MultiplyToPairs);
HWY_EXPORT(MultiplyToFloats);

void MultiplyPairPanels(const PairWeights& weights, const c10::BFloat16* x, int64_t rows,
                        const Epilogue<c10::BFloat16>& epilogue, c10::BFloat16* y) {
  HWY_DYNAMIC_DISPATCH(MultiplyToPairs)(weights, x, rows, epilogue, y);
}

void MultiplyPairPanels(const PairWeights& weights, const c10::BFloat16* x, int64_t rows,
                        const Epilogue<float>& epilogue, float* y) {
  HWY_DYNAMIC_DISPATCH(MultiplyToFloats)(weights, x, rows, epilogue, y);
}

}  // namespace diptych::blip2
#endif
