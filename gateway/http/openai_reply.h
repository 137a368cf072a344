// Answers as OpenAI's JSON.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "diptych/v1/inference.pb.h"
#include "gateway/generated_text.h"
#include "gateway/http/http_server.h"
#include "gateway/http/openai_logprobs.h"
#include "gateway/http/openai_request.h"

namespace diptych::gateway {

enum class OpenAiKind { kChat, kCompletion };

// The members of all messages of one reply.
struct ReplyHead {
  OpenAiKind kind = OpenAiKind::kChat;
  std::string id;       // "chatcmpl-..." or "cmpl-..."
  int64_t created = 0;  // seconds since 1970
  std::string model;
  bool logprobs = false;
  int top_logprobs = 0;        // that were asked for; may be 0 with logprobs
  bool include_usage = false;  // each chunk then has it, null before the last, which is for it alone
  bool echo = false;           // the prompt comes before each completion
  v1::GenerationOptions generation;
  std::vector<CompletionPrompt> prompts;  // of completions
  int choices = 1;                        // that are shown of each prompt
  int draws = 1;                          // answers to each prompt
};

// The output of a choice so far.
struct ShownText {
  explicit ShownText(const ReplyHead& head) : offsets(/*stripped=*/!head.echo) {}
  TextOffsets offsets;
  GeneratedText generated;
};

// The whole reply to all prompts, `draws` answers to each: those with the highest mean log-probability are its choices
// where there are more of them. The key "diptych" holds {timings, context_budget} and, if it was asked
// for, relevance; for several choices a list of them.
nlohmann::ordered_json WholeReply(const ReplyHead& head, const std::vector<v1::Answer>& answers);

// The chunks of a stream: the first of a choice, which has the role in a chat, and the echo of a prompt with the scores
// of `delta` where a completion has one; one for each delta that shows anything, the last of a choice with its finish
// reason and "diptych", and usage at the end of all. `shown` goes from chunk to chunk of one choice.
std::optional<nlohmann::ordered_json> FirstChunk(const ReplyHead& head, int choice, const v1::Delta& delta,
                                                 ShownText& shown);
std::optional<nlohmann::ordered_json> DeltaChunk(const ReplyHead& head, int choice, const v1::Delta& delta,
                                                 ShownText& shown);
nlohmann::ordered_json LastChunk(const ReplyHead& head, int choice, const v1::Answer& answer, const ShownText& shown);
nlohmann::ordered_json UsageChunk(const ReplyHead& head, const std::vector<v1::Answer>& answers);

// The measurements of one answer: {timings, context_budget} and, if it was asked for, relevance.
nlohmann::ordered_json Measured(const v1::Answer& answer);

// {"error": {message, type, param, code}}. `status` is in the caller's names (field_names.h).
nlohmann::ordered_json ErrorBody(const absl::Status& status);
// The same as a reply with its HTTP status and, where waiting helps, retry-after.
HttpReply ErrorReply(const absl::Status& status);
// For what HTTP itself refuses.
HttpReply PlainErrorReply(int status, std::string_view message);

// JSON text in which no byte is invalid UTF-8.
std::string Dump(const nlohmann::ordered_json& value);

}  // namespace diptych::gateway
