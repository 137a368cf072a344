// One question on its way through the language service, and what comes out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blip2/decoding/generation.h"
#include "blip2/prompt.h"
#include "common/grpc/call_context.h"
#include "common/stage_clock.h"
#include "language_service/engine/query_tokens.h"
#include "language_service/engine/token_stream.h"

namespace diptych::language {

// A request as the engine needs it. Belongs to one thread at a time; the queue hands it on.
struct GenerateWork {
  blip2::Prompt prompt;
  blip2::GenerationOptions options;
  std::vector<std::shared_ptr<const QueryTokens>> images;  // in the order of the prompt
  bool relevance = false;                                  // is wanted: the images then have their query_attention
  std::vector<int64_t> begun = {};                         // the answer's first tokens, shown already
  std::string cache_salt = {};                             // KV blocks are shared with requests of the same one only
  StageClock clock;
  std::shared_ptr<const CallContext> call;
  std::shared_ptr<TokenStream> stream;
};

}  // namespace diptych::language
