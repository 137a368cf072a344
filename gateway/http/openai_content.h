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

// A text, or a list of parts in the words of chats and of responses; images among a user's alone. `path` is its place
// in the body. INVALID_ARGUMENT naming the part and its member.
absl::Status ReadContent(const nlohmann::json& content, const std::string& path, Message& message);

// INVALID_ARGUMENT naming `field` if this model has no place for messages of `role`.
absl::StatusOr<Message::Speaker> ReadRole(const std::string& role, const std::string& field);

// Takes what clients keep with messages and their parts, whatever it says: names, times, whose they are.
void IgnoreBookkeeping(Members& members);

}  // namespace diptych::gateway
