// What OpenAI's request bodies hold beside options: messages and images.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "diptych/v1/gateway.pb.h"
#include "gateway/http/json_members.h"

namespace diptych::gateway {

// Takes `messages`: turns, and the images that stand before them. A fault is kept in `members`.
void ReadMessages(Members& members, v1::Question& question);

// "data:image/png;base64,AAAA" becomes its bytes; an address stays one. INVALID_ARGUMENT naming `path`.
absl::Status ReadImageUrl(const std::string& url, const std::string& path, v1::Image& image);

}  // namespace diptych::gateway
