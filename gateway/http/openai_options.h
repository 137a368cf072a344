// What OpenAI's request bodies say of the generation: sampling, stops, logprobs, choices, stream.
#pragma once

#include "gateway/http/json_members.h"
#include "gateway/http/openai_request.h"

namespace diptych::gateway {

// Each takes its members and sets `request`; a fault is kept in `members`. What cannot be honoured is refused, unless
// it has its neutral value.

// Options of both chat and completions.
void ReadOptions(Members& members, OpenAiRequest& request);
void ReadChatOptions(Members& members, OpenAiRequest& request);
void ReadCompletionOptions(Members& members, OpenAiRequest& request);
// `image_options` {image_size, max_side, token_merging}.
void ReadImageOptions(Members& members, v1::ImageOptions& options);

}  // namespace diptych::gateway
