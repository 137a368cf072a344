// The OPT decoder.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "blip2/checkpoint/checkpoint.h"
#include "blip2/cuda/paged_decode_attention.h"
#include "blip2/cuda/step_recorder.h"
#include "blip2/kv_pool.h"
#include "blip2/matrices/integer_matrix.h"

namespace diptych::blip2 {

class PagedAttention;

// The work of one pass for one sequence.
struct DecoderRow {
  at::Tensor embeddings;            // [T, De], T >= 1: the next tokens
  int64_t past = 0;                 // tokens whose keys and values the pool holds already
  std::span<const int32_t> blocks;  // of the pool, in the sequence's order; past + T tokens fit
  bool wants_logits = false;        // of the last of the T tokens
  bool wants_all_logits = false;    // of all T tokens; goes before wants_logits
};

// How a long pass leaves room for other work.
struct Pieces {
  int64_t tokens = std::numeric_limits<int64_t>::max();  // at most, of one layer at a time; >= 1
  std::function<bool()> go_on = nullptr;                 // called between two pieces; false ends the pass
};

// Keys and values of one token in all layers.
int64_t KvTokenBytes(const TextConfig& config, const Placement& placement);

// Const after construction; thread-safe as long as no two calls share a KvPool. Mirrors transformers
// OPTForCausalLM, pre- and post-layer-norm, with and without project_in / project_out. A call that does
// not meet its requirements throws c10::Error, as ATen itself would. Results are inference tensors: to
// change one in place, hold a c10::InferenceMode or clone it.
class OptDecoder {
 public:
  OptDecoder(const Checkpoint& checkpoint, const Placement& placement, const OnRounded& on_rounded = nullptr);
  ~OptDecoder();
  OptDecoder(OptDecoder&&) noexcept;

  // ids -> embeddings [1, T, De] in the model's dtype, before positions are added. −1 − i stands for chosen[i], an id
  // that only the device knows: [R] int64 there. Any other id outside [0, V) throws c10::Error before anything reaches
  // the device, where it would be the end of the process.
  at::Tensor Embed(std::span<const int64_t> ids, const at::Tensor& chosen = {}) const;

  // Room for blocks · block_tokens tokens; what it holds at first is undefined. Requires: both >= 1.
  KvPool MakeKvPool(int64_t blocks, int64_t block_tokens) const;
  // From now on records steps over this pool in which each row has one token and wants logits, once for each size of
  // batch (decode_graphs.h), and tells `on_failure` once, in one line, if that cannot be done: they then run as before.
  // The decoder must stay where it is for as long as the pool is used. FAILED_PRECONDITION, as reads_in_place(), where
  // keys and values are gathered.
  absl::Status RecordSteps(RecordStep record, std::function<void(const std::string& why)> on_failure,
                           KvPool& pool) const;
  // Bytes of one block in all layers.
  int64_t KvBlockBytes(int64_t block_tokens) const;

  // Runs all rows together, so that the weights are read once, and appends each row's keys and values to its
  // blocks. -> float32 logits [R, V] of the R tokens whose rows need them, in their order. No row reads another: a
  // row's result differs by the last bits of the model's dtype alone, whatever else is in the batch. Requires of each
  // row: past + T <= max_position_embeddings; no block that the row writes is in another row.
  at::Tensor Forward(std::span<const DecoderRow> rows, KvPool& pool) const;

  // The attention of one text's tokens: embeddings [T, De] -> float32 [T - first, prefix], the attention of each token
  // from `first` on to each of the first `prefix` ones, averaged over layers and heads (transformers'
  // output_attentions). One pass over the whole text, without a KvPool; keeps no more than a few MiB of scores at a
  // time. An undefined tensor if `pieces` ended it. Requires: 0 <= first < T <= max_position_embeddings, 1 <= prefix
  // <= T.
  at::Tensor AttentionToPrefix(const at::Tensor& embeddings, int64_t first, int64_t prefix,
                               const Pieces& pieces = {}) const;

  // Copies each block `from[i]` onto block `to[i]`, one after the other in effect, in all layers at once. Requires: as
  // many of the one as of the other.
  void CopyKvBlocks(KvPool& pool, std::span<const int32_t> from, std::span<const int32_t> to) const;

  const TextConfig& config() const { return config_; }
  const Placement& placement() const { return placement_; }
  PartSize size() const;
  // Whether decode steps read keys and values in the blocks where they lie. The error says why they are gathered from
  // there, which takes longer, on the device that the decoder runs on.
  const absl::Status& reads_in_place() const { return reads_in_place_; }

 private:
  struct Weights;
  void MakeKernel();
  void CheckRow(const DecoderRow& row, const KvPool& pool) const;
  // Embeddings [N, De] at positions [N] int64 -> [N, Dl], what the first layer reads.
  at::Tensor Enter(at::Tensor x, const at::Tensor& positions) const;
  // Embeddings [N, De] of all rows -> float32 logits [R, V] of those that attention selects.
  at::Tensor RunLayers(const at::Tensor& embeddings, const PagedAttention& attention,
                       const std::vector<at::Tensor>& keys, const std::vector<at::Tensor>& values) const;
  // Final norm, projection and head: x [R, Dl] -> float32 [R, V].
  at::Tensor Logits(at::Tensor x) const;

  TextConfig config_;
  Placement placement_;
  std::unique_ptr<const Weights> weights_;
  AttendPaged attend_paged_;  // on a GPU that has it
  absl::Status reads_in_place_;
};

}  // namespace diptych::blip2
