#include "blip2/paged_attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "blip2/device/transfer.h"
#include "blip2/kernels/decode_attention.h"
#include "blip2/kernels/rounded_kv.h"
#include "blip2/layers.h"
#include "blip2/matrices/kernel_types.h"

namespace diptych::blip2 {
namespace {

// Tokens [first, last) of `row`, appended to where they lie.
void AppendPlaces(const PagedRow& row, int64_t first, int64_t last, int64_t block_tokens, std::vector<int64_t>& blocks,
                  std::vector<int64_t>& offsets) {
  for (int64_t token = first; token < last; ++token) {
    blocks.push_back(row.blocks[token / block_tokens]);
    offsets.push_back(token % block_tokens);
  }
}

// [L, H, Dh] or [B, L, H, Dh] -> [B, H, L, Dh]
at::Tensor HeadsFirst(const at::Tensor& x) {
  return (x.dim() == 3 ? x.unsqueeze(0) : x).transpose(1, 2);
}

// [.., Dh] as the pool holds it.
at::Tensor ToPool(const at::Tensor& x, const at::Tensor& pool) {
  if (pool.scalar_type() != at::kChar) return x.to(pool.scalar_type());
  const at::Tensor numbers = x.contiguous();
  at::Tensor rounded = at::empty({x.size(0), x.size(1), x.size(2) + kKvScaleBytes}, x.options().dtype(at::kChar));
  RoundKv(*KernelWeightType(x.scalar_type()), numbers.const_data_ptr(), x.size(0) * x.size(1), x.size(2),
          rounded.mutable_data_ptr<int8_t>());
  return rounded;
}

// The way back.
at::Tensor FromPool(const at::Tensor& stored, c10::ScalarType dtype) {
  if (stored.scalar_type() != at::kChar) return stored.to(dtype);
  const at::Tensor rounded = stored.contiguous();
  const int64_t width = stored.size(-1) - kKvScaleBytes;
  at::Tensor numbers = at::empty({stored.size(0), stored.size(1), width}, stored.options().dtype(dtype));
  WidenKv(rounded.const_data_ptr<int8_t>(), stored.size(0) * stored.size(1), width, *KernelWeightType(dtype),
          numbers.mutable_data_ptr());
  return numbers;
}

// All that was sent in one copy with `part`: int64 [numbers].
at::Tensor Sent(const at::Tensor& part) {
  const auto numbers = static_cast<int64_t>(part.storage().nbytes() / sizeof(int64_t));
  return at::empty({0}, part.options()).set_(part.storage(), 0, {numbers}, {1});
}

Visibility VisibilityOf(const at::Tensor& mask) {
  if (!mask.defined()) return {};
  return {.causal = false, .mask = mask};
}

}  // namespace

PagedAttention::PagedAttention(std::span<const PagedRow> rows, std::span<const int64_t> wanted, int64_t block_tokens,
                               at::Device device, AttendPaged attend_paged, int64_t table_width)
    : attend_paged_(std::move(attend_paged)) {
  UploadBatch indices;
  std::vector<int64_t> positions;
  std::vector<int64_t> blocks;
  std::vector<int64_t> offsets;
  std::vector<PagedRow> singles;
  std::vector<int64_t> single_begins;
  chunks_.reserve(rows.size());  // UploadBatch knows their members by address
  for (const PagedRow& row : rows) {
    const auto begin = static_cast<int64_t>(positions.size());
    const int64_t length = row.past + row.tokens;
    for (int64_t token = row.past; token < length; ++token) positions.push_back(token);
    AppendPlaces(row, row.past, length, block_tokens, blocks, offsets);
    if (row.tokens > 1) {
      AddChunk(row, begin, block_tokens, indices);
    } else {
      singles.push_back(row);
      single_begins.push_back(begin);
    }
  }
  indices.Add(positions, positions_);
  indices.Add(wanted, selected_, {static_cast<int64_t>(wanted.size())});
  indices.Add(blocks, write_.blocks);
  indices.Add(offsets, write_.offsets);
  if (!singles.empty()) {
    AddSingles(singles, single_begins, block_tokens, table_width, indices, /*on_host=*/device.is_cpu());
  }
  indices.Send(device);
  MakeMasks(device);
}

void PagedAttention::Take(const PagedAttention& other) {
  const at::Tensor own = Sent(positions_), others = Sent(other.positions_);
  TORCH_CHECK(chunks_.empty() && other.chunks_.empty() && own.sizes() == others.sizes() &&
                  singles_.lengths.size() == other.singles_.lengths.size(),
              "expected as many single tokens, with tables as wide");
  own.copy_(others);
  singles_.lengths = other.singles_.lengths;
  singles_.blocks = other.singles_.blocks;
}

void PagedAttention::AddChunk(const PagedRow& row, int64_t begin, int64_t block_tokens, UploadBatch& indices) {
  chunks_.push_back({.begin = begin, .tokens = row.tokens, .past = row.past, .read = {}, .mask = {}});
  if (row.past == 0) return;
  std::vector<int64_t> blocks;
  std::vector<int64_t> offsets;
  AppendPlaces(row, 0, row.past + row.tokens, block_tokens, blocks, offsets);
  indices.Add(blocks, chunks_.back().read.blocks);
  indices.Add(offsets, chunks_.back().read.offsets);
}

void PagedAttention::AddSingles(std::span<const PagedRow> rows, const std::vector<int64_t>& begins,
                                int64_t block_tokens, int64_t table_width, UploadBatch& indices, bool on_host) {
  indices.Add(begins, singles_.tokens);
  for (const PagedRow& row : rows) singles_.lengths.push_back(row.past + 1);
  if (attend_paged_) return AddTables(rows, block_tokens, table_width, indices);
  if (!on_host) return AddPlaces(rows, block_tokens, indices);
  for (const PagedRow& row : rows) singles_.blocks.emplace_back(row.blocks.begin(), row.blocks.end());
}

void PagedAttention::AddTables(std::span<const PagedRow> rows, int64_t block_tokens, int64_t least_width,
                               UploadBatch& indices) {
  const int64_t longest = *std::max_element(singles_.lengths.begin(), singles_.lengths.end());
  const int64_t width = std::max(least_width, (longest + block_tokens - 1) / block_tokens);
  std::vector<int64_t> tables;
  for (const PagedRow& row : rows) {
    const auto own = row.blocks.first(std::min(row.blocks.size(), static_cast<size_t>(width)));
    tables.insert(tables.end(), own.begin(), own.end());
    tables.resize(tables.size() + static_cast<size_t>(width) - own.size());
  }
  indices.Add(tables, singles_.tables, {static_cast<int64_t>(rows.size()), width});
  indices.Add(singles_.lengths, singles_.length);
}

void PagedAttention::AddPlaces(std::span<const PagedRow> rows, int64_t block_tokens, UploadBatch& indices) {
  const std::vector<int64_t>& lengths = singles_.lengths;
  const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
  const int64_t width = *longest;
  std::vector<int64_t> blocks;
  std::vector<int64_t> offsets;
  for (const PagedRow& row : rows) {
    AppendPlaces(row, 0, row.past + 1, block_tokens, blocks, offsets);
    blocks.resize(blocks.size() + (width - row.past - 1), row.blocks[0]);
    offsets.resize(blocks.size(), 0);
  }
  const auto count = static_cast<int64_t>(rows.size());
  indices.Add(blocks, singles_.read.blocks, {count, width});
  indices.Add(offsets, singles_.read.offsets, {count, width});
  if (*shortest < width) indices.Add(lengths, singles_.length);
}

void PagedAttention::MakeMasks(at::Device device) {
  for (Chunk& chunk : chunks_) {
    if (chunk.past == 0) continue;
    chunk.mask = at::ones({chunk.tokens, chunk.past + chunk.tokens}, at::TensorOptions(device).dtype(at::kBool))
                     .tril_(chunk.past);
  }
  if (attend_paged_ || !singles_.length.defined()) return;
  const int64_t width = singles_.read.blocks.size(1);
  const at::Tensor places = at::arange(width, at::TensorOptions(device).dtype(at::kLong));
  singles_.mask = places.view({1, 1, 1, width}) < singles_.length.view({-1, 1, 1, 1});
}

at::Tensor PagedAttention::AttendSingles(const at::Tensor& query, const at::Tensor& keys,
                                         const at::Tensor& values) const {
  if (!query.is_cpu()) {
    return Attention(HeadsFirst(query.unsqueeze(1)), HeadsFirst(Gather(keys, singles_.read)),
                     HeadsFirst(Gather(values, singles_.read)), /*scale=*/1.0, VisibilityOf(singles_.mask))
        .squeeze(1);
  }
  TORCH_CHECK(keys.is_contiguous() && values.is_contiguous(), "expected a pool without gaps");
  std::vector<PlacedSequence> rows;
  for (size_t i = 0; i < singles_.lengths.size(); ++i) {
    rows.push_back({.length = singles_.lengths[i], .blocks = singles_.blocks[i]});
  }
  at::Tensor out = at::empty({query.size(0), query.size(1) * query.size(2)}, query.options());
  AttendInPlace({.type = *KernelWeightType(query.scalar_type()),
                 .pool_type = KernelWeightType(keys.scalar_type()),
                 .heads = query.size(1),
                 .width = query.size(2),
                 .block_tokens = keys.size(2),
                 .query = query.const_data_ptr(),
                 .keys = keys.const_data_ptr(),
                 .values = values.const_data_ptr(),
                 .out = out.mutable_data_ptr()},
                rows);
  return out;
}

// pool [blocks, H, block_tokens, Dh] -> [..., H, Dh], of the places' shape.
at::Tensor PagedAttention::Gather(const at::Tensor& pool, const Places& places) {
  return pool.transpose(1, 2).index({places.blocks, places.offsets});
}

at::Tensor PagedAttention::operator()(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                      const at::Tensor& keys, const at::Tensor& values) const {
  // Rounded before they are read for the first time, so that it makes no difference when a token's neighbours read it.
  const at::Tensor stored_key = ToPool(key, keys), stored_value = ToPool(value, values);
  keys.transpose(1, 2).index_put_({write_.blocks, write_.offsets}, stored_key);
  values.transpose(1, 2).index_put_({write_.blocks, write_.offsets}, stored_value);
  at::Tensor out = at::empty({query.size(0), query.size(1) * query.size(2)}, query.options());
  for (const Chunk& chunk : chunks_) {
    const auto own = [&](const at::Tensor& x) { return x.narrow(0, chunk.begin, chunk.tokens); };
    const bool first = chunk.past == 0;
    const auto read = [&](const at::Tensor& stored, const at::Tensor& pool) {
      return HeadsFirst(FromPool(first ? own(stored) : Gather(pool, chunk.read), query.scalar_type()));
    };
    const at::Tensor attended =
        Attention(HeadsFirst(own(query)), read(stored_key, keys), read(stored_value, values), /*scale=*/1.0,
                  first ? Visibility{.causal = true, .mask = {}} : VisibilityOf(chunk.mask));
    own(out).copy_(attended[0]);
  }
  if (singles_.tokens.defined() && attend_paged_) {
    attend_paged_({.query = query.contiguous(),
                   .keys = keys,
                   .values = values,
                   .tokens = singles_.tokens,
                   .tables = singles_.tables,
                   .lengths = singles_.length,
                   .out = out});
  } else if (singles_.tokens.defined()) {
    out.index_copy_(0, singles_.tokens, AttendSingles(query.index_select(0, singles_.tokens), keys, values));
  }
  return out;
}

}  // namespace diptych::blip2
