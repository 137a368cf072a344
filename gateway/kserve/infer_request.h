// Requests of the Open Inference Protocol, read into questions.
#pragma once

#include <map>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "diptych/v1/inference.pb.h"
#include "inference/grpc_service.pb.h"

namespace diptych::gateway {

struct InferRequest {
  v1::Question question;             // not checked against any limit
  std::string id;                    // the caller's, to be repeated
  std::string prefix;                // comes before the answer: the prompt, if the caller asks for it
  v1::GenerationOptions generation;  // where there is a prefix
  std::set<std::string> outputs;     // wanted; empty: all
  // Of fields of the question, those that the caller wrote otherwise: "max_new_tokens" as "max_tokens".
  std::map<std::string, std::string> names;
};

// Inputs, with Triton's other names for them:
//   image (image_bytes, image_bytes_input, images)  BYTES [n]: encoded files, or those as base64
//   prompt (text_input)                             BYTES [1]: literal text, as Question.prompt
//   question                                        BYTES [1]: asked in BLIP-2's "Question: ... Answer:" form
// Every field of GenerationOptions and ImageOptions is an option by its own name, given as an input [1] or [1, 1], as a
// parameter, or in sampling_parameters, a JSON object (BYTES [1]); also max_tokens, beam_width, random_seed,
// stop_words. INVALID_ARGUMENT with OPTION_RANGE, naming the input, for an input or option that is not known, whose
// type is not the field's, or that would be ignored.
absl::StatusOr<InferRequest> ReadInferRequest(inference::ModelInferRequest request);

}  // namespace diptych::gateway
