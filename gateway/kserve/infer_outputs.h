// Answers as responses of the Open Inference Protocol.
#pragma once

#include <string_view>

#include "diptych/v1/inference.pb.h"
#include "gateway/generated_text.h"
#include "gateway/kserve/infer_request.h"
#include "inference/grpc_service.pb.h"

namespace diptych::gateway {

inline constexpr std::string_view kModelVersion = "1";

// Whether ModelMetadata lists an output of this name.
bool IsOutput(std::string_view name);

// The whole answer: text_output, finish_reason, token_ids, prompt_tokens, completion_tokens, timings and context_budget
// (JSON), as far as `request` asks for them.
inference::ModelInferResponse ToInferResponse(const InferRequest& request, const v1::Answer& answer);

// A piece of the answer: text_output alone. `first`: the request's prefix comes before it.
// `generated` goes from piece to piece.
inference::ModelInferResponse ToInferResponse(const InferRequest& request, const v1::Delta& delta, bool first,
                                              GeneratedText& generated);

// The end of a streamed answer: all outputs, the text what is left of it.
inference::ModelInferResponse ToFinalResponse(const InferRequest& request, const v1::Answer& answer, bool first,
                                              const GeneratedText& generated);

// Inputs and outputs by name, type and shape.
inference::ModelMetadataResponse MetadataOf(const v1::ModelDescription& model);

}  // namespace diptych::gateway
