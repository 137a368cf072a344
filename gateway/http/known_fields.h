// Members of request bodies that other servers' clients send, and that ask for nothing here or for what can't be done.
#pragma once

#include "gateway/http/json_members.h"

namespace diptych::gateway {

// Why some members are refused.
inline constexpr char kTextOnly[] = "answers are free text: no format or grammar can be enforced";
inline constexpr char kNoReasoning[] = "this model does not reason before it answers";

// Takes the members that change no answer, whatever they say, and those of known servers (OpenAI, vLLM, SGLang,
// llama.cpp, TGI, Ollama, OpenRouter and what is built on them) that stand at a value which asks for nothing. A known
// member with another value is refused by name, with the reason why: UNSUPPORTED_PARAMETER, kept in `members`.
void TakeKnownFields(Members& members);

}  // namespace diptych::gateway
