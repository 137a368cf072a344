// The text of an answer as it was generated.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <string>
#include <string_view>

#include "diptych/v1/inference.pb.h"

namespace diptych::gateway {

// The language tier strips white space at both ends of an answer. Who puts the text behind its prompt needs it, and
// gets it from the bytes of the tokens: the question asks for logprobs. Thread-compatible.
class GeneratedText {
 public:
  using Steps = google::protobuf::RepeatedPtrField<v1::StepLogprobs>;

  // The next piece, with what was stripped before it. `text` and `steps` are those of a Delta, or of a whole Answer.
  std::string Push(std::string_view text, const Steps& steps);
  // The text stripped after the last piece. `options` are the question's.
  std::string Finish(v1::FinishReason reason, const v1::GenerationOptions& options) const;

 private:
  std::string tokens_;            // their bytes
  size_t before_last_token_ = 0;  // bytes
  std::string text_;              // that has come
};

}  // namespace diptych::gateway
