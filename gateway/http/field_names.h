// An HTTP caller's names for the fields of a question.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace diptych::gateway {

// Names of a question's parts in the caller's JSON.
struct FieldNames {
  std::string content = "messages";  // the member that holds texts and images
  // Of fields that have another name there, by their own.
  std::map<std::string, std::string> options = {{"max_new_tokens", "max_tokens"}, {"min_new_tokens", "min_tokens"}};
  std::vector<std::string> turns;   // of each turn, for example "messages[2].content"
  std::vector<std::string> images;  // of each image, for example "messages[0].content[1].image_url"
};

// The same error with field and message in the caller's names: question.generation.max_new_tokens becomes max_tokens,
// question.turns[0].text becomes messages[0].content. OK stays OK.
absl::Status InCallersNames(const absl::Status& status, const FieldNames& names);

}  // namespace diptych::gateway
