// A conversation as clients send it, put into the form that the model knows.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "diptych/v1/inference.pb.h"
#include "gateway/http/field_names.h"

namespace diptych::gateway {

// How system and developer messages are treated, which BLIP-2 does not know.
enum class SystemPrompt {
  kPrepend,  // put before the first question, as text
  kRefuse,   // UNSUPPORTED_PARAMETER, unless it is empty
};

struct Message {
  enum class Speaker { kUser, kAssistant, kSystem };

  Speaker speaker = Speaker::kUser;
  std::string text;
  std::vector<v1::Image> images;          // of the user only
  std::string field;                      // where its text stood
  std::vector<std::string> image_fields;  // where each image stood
};

// Sets the question's turns and images, and where they stood. Two turns of one speaker in a row become one. What a
// system or the assistant says before the user does is put before the first question, as text. Images are taken out of
// the turns, in order. A user's images alone ask for their caption, which is the empty prompt.
// INVALID_ARGUMENT if the user says nothing or has not the last word.
absl::Status SetConversation(std::vector<Message> messages, SystemPrompt system_prompt, v1::Question& question,
                             FieldNames& names);

}  // namespace diptych::gateway
