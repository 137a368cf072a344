#include "blip2/decode_graphs.h"

#include <ATen/ATen.h>

#include <bit>
#include <utility>
#include <vector>

namespace diptych::blip2 {
namespace {

constexpr int64_t kDoubled = 16;  // up to here sizes double, then they grow by as many
constexpr int64_t kMostRows = 128;

// `rows` and the first one again, `count` in all.
std::vector<PagedRow> Filled(std::span<const PagedRow> rows, int64_t count) {
  std::vector<PagedRow> filled(rows.begin(), rows.end());
  filled.resize(static_cast<size_t>(count), rows.front());
  return filled;
}

std::vector<int64_t> Places(int64_t count) {
  std::vector<int64_t> places;
  for (int64_t place = 0; place < count; ++place) places.push_back(place);
  return places;
}

void Fill(const at::Tensor& rows, const at::Tensor& filled) {
  const int64_t count = rows.size(0), missing = filled.size(0) - count;
  filled.narrow(0, 0, count).copy_(rows);
  if (missing > 0) filled.narrow(0, count, missing).copy_(rows.narrow(0, 0, 1).expand({missing, -1}));
}

}  // namespace

std::optional<int64_t> GraphRows(int64_t rows) {
  if (rows < 1 || rows > kMostRows) return std::nullopt;
  if (rows <= kDoubled) return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)));
  return (rows + kDoubled - 1) / kDoubled * kDoubled;
}

DecodeGraphs::DecodeGraphs(RecordStep record, Layers layers, Options options)
    : recording_(std::move(record), std::move(options.on_failure)),
      layers_(std::move(layers)),
      options_(std::move(options)) {}

std::optional<at::Tensor> DecodeGraphs::Run(const at::Tensor& embeddings, std::span<const PagedRow> rows) {
  const int64_t count = embeddings.size(0);
  const std::optional<int64_t> size = GraphRows(count);
  if (!recording_.goes_on() || !size) return std::nullopt;
  const PagedAttention attention(Filled(rows, *size), Places(*size), options_.block_tokens, embeddings.device(),
                                 options_.attend_paged, options_.table_width);
  std::optional<at::Tensor> logits;
  const bool ran = recording_.Try([&] {
    Step& step = StepOf(embeddings, attention);
    Fill(embeddings, step.embeddings);
    step.attention.Take(attention);
    Replay(step);
    logits = step.logits.narrow(0, 0, count).clone();  // the next step writes where they lie
  });
  if (!ran) steps_.clear();
  return logits;
}

DecodeGraphs::Step& DecodeGraphs::StepOf(const at::Tensor& embeddings, PagedAttention attention) {
  const int64_t size = attention.positions().size(0);
  const auto known = steps_.find(size);
  if (known != steps_.end()) return known->second;
  const at::Tensor room = at::empty({size, embeddings.size(1)}, embeddings.options());
  return steps_.emplace(size, Step{.embeddings = room, .attention = std::move(attention)}).first->second;
}

void DecodeGraphs::Replay(Step& step) {
  if (!step.replay) {
    step.replay = recording_.Record([this, &step] { step.logits = layers_(step.embeddings, step.attention); });
  }
  step.replay();
}

}  // namespace diptych::blip2
