// The Q-Former: learned queries read the image, then are projected to the language model's width.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "blip2/checkpoint/checkpoint.h"

namespace diptych::blip2 {

// What Analyze gives.
struct QFormerAnalysis {
  at::Tensor queries;          // [B, Q, Dq]
  at::Tensor cross_attention;  // [B, Q, P] float32, rows sum to 1: where each query looked
};

// Const after construction; thread-safe. Mirrors transformers Blip2QFormerModel followed by
// language_projection. In float16 the Q-Former itself runs in float32, as transformers keeps it. Besides weights
// of 8 and 4 bits it runs in float32 with weights of bfloat16, where the processor multiplies pairs of these.
// A call that does not meet its requirements throws c10::Error, as ATen itself would.
class QFormer {
 public:
  QFormer(const Checkpoint& checkpoint, const Placement& placement);
  ~QFormer();
  QFormer(QFormer&&) noexcept;

  // visual_tokens [B, P, Dv], any float dtype and device -> [B, Q, Dq]. Requires: P >= 1.
  at::Tensor Forward(const at::Tensor& visual_tokens) const;

  // Forward, bit for bit, and the cross-attention of the last layer that has one, averaged over the heads
  // (transformers' output_attentions).
  QFormerAnalysis Analyze(const at::Tensor& visual_tokens) const;

  // Forward's result [B, Q, Dq] -> projected query tokens [B, Q, De] in the model's dtype, where De is
  // the width of the decoder's embeddings. language_projection is Dl wide; in a decoder with De < Dl
  // (OPT-350m) transformers' masked_scatter deals out the first Q·De of its values, and so does this.
  at::Tensor Project(const at::Tensor& queries) const;

  // The query tokens count as part of the Q-Former.
  PartSize qformer_size() const;
  PartSize projection_size() const;

 private:
  struct Weights;
  // Also fills in `cross_attention` unless it is null.
  at::Tensor Run(const at::Tensor& visual_tokens, at::Tensor* cross_attention) const;

  QFormerConfig config_;
  Placement placement_;
  std::unique_ptr<const Weights> weights_;
};

}  // namespace diptych::blip2
