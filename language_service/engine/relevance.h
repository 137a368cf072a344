// From attention to patches: where an answer's tokens looked.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "absl/status/statusor.h"
#include "blip2/opt.h"
#include "language_service/engine/sequence.h"
#include "language_service/engine/token_stream.h"
#include "language_service/served_model.h"

namespace diptych::language {

// attention [G, n·Q] float32: of G tokens to the query tokens of n images, side by side; query_attention: [Q, P] of
// each image. An image's grid is the sum of its queries' maps, each weighted with its share of the attention that
// the image had.
AnswerRelevance CombineRelevance(const at::Tensor& attention, std::span<const at::Tensor> query_attention);

// One pass of the decoder over prompt and answer in `pieces`, then the above. The sequence may end between two of them;
// CANCELLED if they ended the pass. Throws nothing: INTERNAL if the model fails or makes numbers that are not finite.
// Requires: sequence.finished(), images with query_attention, no beams. Confined to the engine thread.
absl::StatusOr<AnswerRelevance> ComputeRelevance(const ServedLanguageModel& model, const Sequence& sequence,
                                                 const blip2::Pieces& pieces);

}  // namespace diptych::language
