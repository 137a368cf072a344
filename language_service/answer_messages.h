// The messages of LanguageService.Generate.
#pragma once

#include <string>

#include "blip2/prompt.h"
#include "diptych/v1/language.pb.h"
#include "language_service/engine/token_stream.h"

namespace diptych::language {

// Facts for every message of one request's stream; fixed when the request is accepted, but for the hits.
struct AnswerHead {
  std::string request_id;
  std::string model;
  blip2::Prompt prompt;
  int dense_patch_tokens = 0;
  int64_t begun = 0;  // tokens of the answer that were there before
  bool logprobs = false;
  const blip2::Tokenizer* tokenizer = nullptr;  // gives the text of each token with a logprob; must outlive this
  int vision_hits = 0;                          // known once the images are there
  int projected_hits = 0;
};

v1::GenerateResponse StartedMessage(const AnswerHead& head);
v1::GenerateResponse DeltaMessage(const AnswerHead& head, const TokenDelta& delta);
v1::GenerateResponse FinishedMessage(const AnswerHead& head, const GenerateResult& result);

}  // namespace diptych::language
