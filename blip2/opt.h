// The OPT decoder.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "blip2/checkpoint.h"

namespace diptych::blip2 {

// Keys and values of one sequence: for each layer [1, H, capacity, Dh], of which the first `length`
// positions are filled. Owned by one sequence; confined to the thread that runs the decoder.
struct KvCache {
  std::vector<at::Tensor> keys;
  std::vector<at::Tensor> values;
  int64_t length = 0;    // tokens
  int64_t capacity = 0;  // tokens
};

// Const after construction; thread-safe as long as no two calls share a KvCache. Mirrors transformers
// OPTForCausalLM, pre- and post-layer-norm, with and without project_in / project_out. A call that does
// not meet its requirements throws c10::Error, as ATen itself would. Results are inference tensors: to
// change one in place, hold a c10::InferenceMode or clone it.
class OptDecoder {
 public:
  OptDecoder(const Checkpoint& checkpoint, const Placement& placement);
  ~OptDecoder();
  OptDecoder(OptDecoder&&) noexcept;

  // An empty cache for at most `capacity` tokens. Requires: 1 <= capacity <= max_position_embeddings.
  KvCache MakeCache(int64_t capacity) const;
  // Bytes that MakeCache(capacity) allocates.
  int64_t CacheBytes(int64_t capacity) const;

  // ids -> embeddings [1, T, De] in the model's dtype, before positions are added. Requires: 0 <= id < V.
  at::Tensor Embed(std::span<const int64_t> ids) const;

  // Appends T tokens to `cache` and returns the float32 logits [V] of the last of them.
  //   embeddings [1, T, De], T >= 1. Requires: cache.length + T <= cache.capacity.
  at::Tensor Forward(const at::Tensor& embeddings, KvCache& cache) const;

  const TextConfig& config() const { return config_; }
  const Placement& placement() const { return placement_; }
  PartSize size() const;

 private:
  struct Weights;
  TextConfig config_;
  Placement placement_;
  std::unique_ptr<const Weights> weights_;
};

}  // namespace diptych::blip2
