// Self-attention over keys and values that lie in the blocks of a KvPool.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/cuda/paged_decode_attention.h"

namespace diptych::blip2 {

class UploadBatch;

// T new tokens of one sequence after `past` old ones. `blocks` is the sequence's table: at least as many
// as past + T tokens fill.
struct PagedRow {
  int64_t past = 0;
  int64_t tokens = 0;
  std::span<const int32_t> blocks;
};

// The attention of one pass, for the same rows in every layer. N is the tokens of all rows, side by side in the
// rows' order. A token reads its own sequence up to itself and nothing else, so what lies in the rest of a
// block, NaN included, reaches no result. Rows may share blocks that only hold old tokens. Const after
// construction.
class PagedAttention {
 public:
  // `wanted`: tokens, by their place among the N, for selected(). All that the layers look up goes to the device in
  // one upload. `attend_paged`, if there is one, attends for the rows of one token; their tables are at least
  // `table_width` blocks wide. Requires: every row has tokens and blocks enough. The rows need not outlive the
  // constructor.
  PagedAttention(std::span<const PagedRow> rows, std::span<const int64_t> wanted, int64_t block_tokens,
                 at::Device device, AttendPaged attend_paged = nullptr, int64_t table_width = 0);

  // From now on looks up what `other` does, in the memory where this one's indices lie. Requires: both are of as many
  // single tokens, and have tables of one width.
  void Take(const PagedAttention& other);

  // Place of each token in its sequence: [N] int64.
  const at::Tensor& positions() const { return positions_; }
  // `wanted`: [R] int64.
  const at::Tensor& selected() const { return selected_; }

  // Stores key and value in the rows' blocks, in the blocks' number type, then attends.
  //   query (scaled), key, value [N, H, Dh]; keys, values of a KvPool -> [N, H·Dh] of the query's type
  at::Tensor operator()(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& keys,
                        const at::Tensor& values) const;

 private:
  // Positions of tokens in the pool: two int64 tensors of one shape.
  struct Places {
    at::Tensor blocks;
    at::Tensor offsets;  // in tokens
  };
  // Several tokens of one sequence.
  struct Chunk {
    int64_t begin = 0;  // of its tokens among the N
    int64_t tokens = 0;
    int64_t past = 0;
    Places read;      // [past + T]; undefined without past
    at::Tensor mask;  // [T, past + T] bool; undefined without past
  };
  // The rows of one token. Their blocks are read in place, by attend_paged_ or on the CPU. Elsewhere they are padded to
  // the longest, and padding reads a row's first token.
  struct Singles {
    at::Tensor tokens;  // [R] int64: which of the N
    at::Tensor tables;  // [R, W] int64: their blocks, padded with any; for attend_paged_
    at::Tensor length;  // [R] int64; undefined on the CPU, and where no row is padded
    Places read;        // [R, L]; for neither
    at::Tensor mask;    // [R, 1, 1, L] bool; undefined where no row is padded
    std::vector<int64_t> lengths;
    std::vector<std::vector<int32_t>> blocks;  // on the CPU
  };

  void AddChunk(const PagedRow& row, int64_t begin, int64_t block_tokens, UploadBatch& indices);
  void AddSingles(std::span<const PagedRow> rows, const std::vector<int64_t>& begins, int64_t block_tokens,
                  int64_t table_width, UploadBatch& indices, bool on_host);
  // Their blocks, for attend_paged_.
  void AddTables(std::span<const PagedRow> rows, int64_t block_tokens, int64_t least_width, UploadBatch& indices);
  // The position of each of their tokens, for gathering.
  void AddPlaces(std::span<const PagedRow> rows, int64_t block_tokens, UploadBatch& indices);
  void MakeMasks(at::Device device);
  // query [R, H, Dh]; keys and values as above -> [R, H·Dh]
  at::Tensor AttendSingles(const at::Tensor& query, const at::Tensor& keys, const at::Tensor& values) const;
  static at::Tensor Gather(const at::Tensor& pool, const Places& places);

  at::Tensor positions_;
  at::Tensor selected_;
  Places write_;  // [N]
  std::vector<Chunk> chunks_;
  Singles singles_;
  AttendPaged attend_paged_;
};

}  // namespace diptych::blip2
