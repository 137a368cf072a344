// Attention of a pass's single tokens on a card: keys and values are read in the blocks where they lie.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "absl/status/statusor.h"
#include "blip2/cuda/kernel.h"

namespace diptych::blip2 {

// R of the N tokens of a pass, each the only one of its sequence. All on one device, contiguous, numbers of one type.
struct PagedDecode {
  at::Tensor query;    // [N, H, Dh], scaled
  at::Tensor keys;     // [blocks, H, block_tokens, Dh]
  at::Tensor values;   // likewise
  at::Tensor tokens;   // [R] int64: which of the N
  at::Tensor tables;   // [R, W] int64: blocks in the sequence's order; what is not read may be anything
  at::Tensor lengths;  // [R] int64: tokens that are read, 1 to W · block_tokens
  at::Tensor out;      // [N, H·Dh]: the R rows are written, no others
};

// out = softmax(query · keysᵀ) · values, sums in float32. A row has the same bits in every batch.
using AttendPaged = std::function<void(const PagedDecode&)>;

// The kernel, compiled for the device. FAILED_PRECONDITION, saying why, where it cannot be had: then keys and values
// are gathered. INVALID_ARGUMENT for a type that it does not read, or a `width` (Dh) over 128.
absl::StatusOr<AttendPaged> MakePagedDecodeAttention(c10::Device device, c10::ScalarType dtype, int64_t width);

// Of paged_decode_attention.cu.
absl::StatusOr<KernelSource> PagedDecodeSource(c10::ScalarType dtype, int64_t width);

}  // namespace diptych::blip2
