// The messages of OpenAI's chat requests.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "gateway/http/conversation.h"
#include "gateway/http/json_members.h"
#include "gateway/http/openai_request.h"

namespace diptych::gateway {

// Takes `messages`: turns, and the images that stand before them. A fault is kept in `members`.
void ReadMessages(Members& members, SystemPrompt system_prompt, OpenAiRequest& request);

// INVALID_ARGUMENT naming `field` if `detail` is none that OpenAI knows. The model has one resolution of its own,
// whatever is asked for.
absl::Status CheckDetail(std::string_view detail, const std::string& field);

// INVALID_ARGUMENT naming `field` if this model has no place for messages of `role`.
absl::StatusOr<Message::Speaker> ReadRole(const std::string& role, const std::string& field);

}  // namespace diptych::gateway
