// Any text as a body of each kind that the HTTP surface reads. What is refused must be said in JSON; what is accepted
// must keep to its bounds and be a message that gRPC takes.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "common/grpc/wire.h"
#include "common/status.h"
#include "gateway/http/openai_reply.h"
#include "gateway/http/openai_request.h"
#include "gateway/http/responses_request.h"
#include "gateway/http/tokenize_request.h"
#include "tests/fuzz/checks.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::chat {
namespace {

using namespace diptych::gateway;  // NOLINT

void RequireTold(const absl::Status& status) {
  Require(status.code() == absl::StatusCode::kInvalidArgument);
  const HttpReply reply = ErrorReply(status);
  Require(reply.status == 400 && nlohmann::json::accept(reply.body));
}

// Bounds are refused later, in the gateway, for every kind of caller; text that is not UTF-8 would end the call there.
template <typename Message>
void RequireText(const Message& message) {
  Message again;
  const absl::Status status = diptych::ParseMessage(diptych::SerializeMessage(message), again);
  Require(diptych::ReasonOf(status) != diptych::reason::kTextEncoding);
}

void CheckQuestion(const absl::StatusOr<OpenAiRequest>& read) {
  if (!read.ok()) return RequireTold(read.status());
  Require(read->choices >= 1 && read->choices <= kMaxChoices && read->draws >= read->choices);
  Require(read->prompts.size() <= kMaxPrompts);
  RequireText(read->question);
}

template <typename Read>
void CheckResponses(const absl::StatusOr<Read>& read) {
  if (!read.ok()) return RequireTold(read.status());
  RequireText(read->question.question);
  (void)read->echo.dump();  // throws for text that is not UTF-8
}

template <typename Body>
void CheckTokens(const absl::StatusOr<Body>& read) {
  if (!read.ok()) return RequireTold(read.status());
  RequireText(read->request);
}

}  // namespace

DIPTYCH_FUZZ_TARGET(chat) {
  const std::string_view body = diptych::fuzz::TextOf(data, size);
  CheckQuestion(ReadChatRequest(body));
  CheckQuestion(ReadChatRequest(body, SystemPrompt::kRefuse));
  CheckQuestion(ReadCompletionRequest(body));
  CheckResponses(ReadResponsesRequest(body, SystemPrompt::kPrepend));
  CheckTokens(ReadTokenizeRequest(body, SystemPrompt::kPrepend));
  CheckTokens(ReadDetokenizeRequest(body));
  if (const auto analyze = ReadAnalyzeRequest(body); analyze.ok()) {
    RequireText(*analyze);
  } else {
    RequireTold(analyze.status());
  }
  return 0;
}

}  // namespace diptych::fuzz::chat
