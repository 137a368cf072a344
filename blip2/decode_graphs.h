// Decode steps that are recorded once for each size of batch, and then given to the card by one launch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>

#include "blip2/cuda/paged_decode_attention.h"
#include "blip2/cuda/recording.h"
#include "blip2/paged_attention.h"

namespace diptych::blip2 {

// Rows of the recorded step that a step of so many is run as; nullopt: it is not recorded.
std::optional<int64_t> GraphRows(int64_t rows);

// Each step's numbers are copied to where the recorded step of its size reads them. Rows that are missing repeat the
// first one, which only writes again what it wrote. Confined to the thread that runs the decoder.
class DecodeGraphs {
 public:
  // The decoder over single tokens: embeddings [B, De] -> logits [B, V].
  using Layers = std::function<at::Tensor(const at::Tensor& embeddings, const PagedAttention& attention)>;

  // Bounds of what a step reads: tables of `table_width` blocks.
  struct Options {
    int64_t block_tokens = 0;
    int64_t table_width = 0;
    AttendPaged attend_paged = nullptr;
    Recording::OnFailure on_failure = nullptr;
  };
  DecodeGraphs(RecordStep record, Layers layers, Options options);

  // embeddings [R, De] of `rows`, each of one token -> logits [R, V]. nullopt if the caller is to run them itself: they
  // are too many, or recording or running what was recorded failed, now or earlier. Throws only what uploading does.
  std::optional<at::Tensor> Run(const at::Tensor& embeddings, std::span<const PagedRow> rows);

 private:
  struct Step {
    at::Tensor embeddings;  // [B, De]
    PagedAttention attention;
    at::Tensor logits = {};  // [B, V]
    std::function<void()> replay = nullptr;
  };
  Step& StepOf(const at::Tensor& embeddings, PagedAttention attention);
  void Replay(Step& step);

  Recording recording_;
  Layers layers_;
  Options options_;
  std::map<int64_t, Step> steps_;  // by B
};

}  // namespace diptych::blip2
