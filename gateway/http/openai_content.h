// The messages of OpenAI's chat requests.
#pragma once

#include "gateway/http/conversation.h"
#include "gateway/http/json_members.h"
#include "gateway/http/openai_request.h"

namespace diptych::gateway {

// Takes `messages`: turns, and the images that stand before them. A fault is kept in `members`.
void ReadMessages(Members& members, SystemPrompt system_prompt, OpenAiRequest& request);

}  // namespace diptych::gateway
