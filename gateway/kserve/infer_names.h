// A caller's names for the fields of a question.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"

namespace diptych::gateway {

// The same error with field and message in the caller's names: question.generation.max_new_tokens becomes
// inputs.max_tokens. `given`: what the caller wrote for the inputs and options of infer_request.h. OK stays OK.
absl::Status InInputNames(const absl::Status& status, const std::map<std::string, std::string>& given);

}  // namespace diptych::gateway
