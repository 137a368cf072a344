// Keys and values of all sequences, cut into blocks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace diptych::blip2 {

class DecodeGraphs;

// For each layer [blocks, H, block_tokens, Dh], or Dh + kKvScaleBytes wide in 8 bits (kernels/rounded_kv.h). Token t of
// a sequence lies at place t % block_tokens of the block that the sequence's table names at t / block_tokens; which
// blocks are in use is the caller's to know. Confined to the thread that runs the decoder.
struct KvPool {
  at::Tensor all = {};  // [2, layers, blocks, H, block_tokens, Dh]: what `keys` and `values` are parts of
  std::vector<at::Tensor> keys;
  std::vector<at::Tensor> values;
  int64_t blocks = 0;
  int64_t block_tokens = 0;
  std::shared_ptr<DecodeGraphs> graphs = {};  // of decode steps over these blocks, where they are recorded
};

}  // namespace diptych::blip2
