#include "gateway/http/openai_reply.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/message_json.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

using nlohmann::ordered_json;

const char* FinishWord(v1::FinishReason reason) {
  return reason == v1::FINISH_REASON_LENGTH ? "length" : "stop";
}

ordered_json ByteList(std::string_view bytes) {
  ordered_json list = ordered_json::array();
  for (const char byte : bytes) list.push_back(static_cast<unsigned char>(byte));
  return list;
}

ordered_json ChatLogprob(const v1::TokenLogprob& token) {
  return {{"token", token.text()}, {"logprob", token.logprob()}, {"bytes", ByteList(token.text())}};
}

template <typename Steps>
ordered_json ChatLogprobs(const Steps& steps, int top) {
  ordered_json content = ordered_json::array();
  for (const v1::StepLogprobs& step : steps) {
    ordered_json entry = ChatLogprob(step.chosen());
    entry["top_logprobs"] = ordered_json::array();
    for (int i = 0; i < std::min(top, step.top_size()); ++i) entry["top_logprobs"].push_back(ChatLogprob(step.top(i)));
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

template <typename Steps>
ordered_json CompletionLogprobs(const Steps& steps, int top) {
  ordered_json tokens = ordered_json::array(), logprobs = ordered_json::array(), tops = ordered_json::array();
  for (const v1::StepLogprobs& step : steps) {
    tokens.push_back(step.chosen().text());
    logprobs.push_back(step.chosen().logprob());
    ordered_json map = ordered_json::object();
    for (int i = 0; i < std::min(top, step.top_size()); ++i) map[step.top(i).text()] = step.top(i).logprob();
    tops.push_back(std::move(map));
  }
  return {{"tokens", std::move(tokens)}, {"token_logprobs", std::move(logprobs)}, {"top_logprobs", std::move(tops)}};
}

template <typename Steps>
ordered_json Logprobs(const ReplyHead& head, const Steps& steps) {
  if (!head.logprobs) return nullptr;
  return head.kind == OpenAiKind::kChat ? ChatLogprobs(steps, head.top_logprobs)
                                        : CompletionLogprobs(steps, head.top_logprobs);
}

ordered_json Envelope(const ReplyHead& head, bool chunk) {
  const char* object = head.kind == OpenAiKind::kCompletion ? "text_completion"
                       : chunk                              ? "chat.completion.chunk"
                                                            : "chat.completion";
  return {{"id", head.id}, {"object", object}, {"created", head.created}, {"model", head.model}};
}

// The prompt is the same for all choices.
ordered_json UsageOf(const std::vector<v1::Answer>& answers) {
  int prompt = 0, cached = 0, completion = 0;
  for (const v1::Answer& answer : answers) {
    prompt = answer.usage().prompt_tokens();
    cached = std::max(cached, answer.usage().cached_tokens());
    completion += answer.usage().completion_tokens();
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

ordered_json ChunkOf(const ReplyHead& head, int choice, std::string_view text, ordered_json logprobs,
                     ordered_json finish_reason) {
  ordered_json entry{{"index", choice}};
  if (head.kind == OpenAiKind::kCompletion) {
    entry["text"] = text;
  } else {
    entry["delta"] = finish_reason.is_null() ? ordered_json{{"content", text}} : ordered_json::object();
  }
  entry["logprobs"] = std::move(logprobs);
  entry["finish_reason"] = std::move(finish_reason);
  ordered_json chunk = Envelope(head, /*chunk=*/true);
  chunk["choices"] = ordered_json::array({std::move(entry)});
  return chunk;
}

int HttpStatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

const char* ErrorType(int http_status) {
  switch (http_status) {
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return http_status < 499 ? "invalid_request_error" : "server_error";
  }
}

// The word that OpenAI has for the reason, else our own.
std::string CodeOf(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  return reason == reason::kModelUnknown ? "model_not_found" : absl::AsciiStrToLower(reason);
}

ordered_json ErrorObject(std::string_view message, int http_status, std::string_view param, std::string_view code) {
  return {{"error",
           {{"message", message},
            {"type", ErrorType(http_status)},
            {"param", param.empty() ? ordered_json(nullptr) : ordered_json(param)},
            {"code", code.empty() ? ordered_json(nullptr) : ordered_json(code)}}}};
}

}  // namespace

ordered_json Measured(const v1::Answer& answer) {
  ordered_json measured{{"timings", ToJson(answer.timings())}, {"context_budget", ToJson(answer.context_budget())}};
  if (answer.relevance().empty()) return measured;
  ordered_json& relevance = measured["relevance"] = ordered_json::array();
  for (const v1::TokenRelevance& token : answer.relevance()) relevance.push_back(ToJson(token));
  return measured;
}

ordered_json WholeReply(const ReplyHead& head, const std::vector<v1::Answer>& answers) {
  ordered_json reply = Envelope(head, /*chunk=*/false);
  ordered_json choices = ordered_json::array(), measured = ordered_json::array();
  for (size_t i = 0; i < answers.size(); ++i) {
    const v1::Answer& answer = answers[i];
    ordered_json choice{{"index", i}};
    if (head.kind == OpenAiKind::kChat) {
      choice["message"] = {{"role", "assistant"}, {"content", answer.text()}, {"refusal", nullptr}};
    } else {
      choice["text"] = head.echo + answer.text();
    }
    choice["logprobs"] = Logprobs(head, answer.logprobs());
    choice["finish_reason"] = FinishWord(answer.finish_reason());
    choices.push_back(std::move(choice));
    measured.push_back(Measured(answer));
  }
  reply["choices"] = std::move(choices);
  reply["usage"] = UsageOf(answers);
  reply["diptych"] = answers.size() == 1 ? std::move(measured[0]) : std::move(measured);
  return reply;
}

ordered_json FirstChunk(const ReplyHead& head, int choice) {
  ordered_json chunk = ChunkOf(head, choice, head.echo, nullptr, nullptr);
  if (head.kind == OpenAiKind::kChat) chunk["choices"][0]["delta"] = {{"role", "assistant"}, {"content", ""}};
  return chunk;
}

ordered_json DeltaChunk(const ReplyHead& head, int choice, const v1::Delta& delta) {
  return ChunkOf(head, choice, delta.text(), Logprobs(head, delta.logprobs()), nullptr);
}

ordered_json LastChunk(const ReplyHead& head, int choice, const v1::Answer& answer) {
  ordered_json chunk = ChunkOf(head, choice, "", nullptr, FinishWord(answer.finish_reason()));
  chunk["diptych"] = Measured(answer);
  return chunk;
}

ordered_json UsageChunk(const ReplyHead& head, const std::vector<v1::Answer>& answers) {
  ordered_json chunk = Envelope(head, /*chunk=*/true);
  chunk["choices"] = ordered_json::array();
  chunk["usage"] = UsageOf(answers);
  return chunk;
}

ordered_json ErrorBody(const absl::Status& status) {
  const bool ours = status.code() == absl::StatusCode::kInternal || status.code() == absl::StatusCode::kUnknown;
  return ErrorObject(ours ? "the server failed" : std::string_view(status.message().data(), status.message().size()),
                     HttpStatusOf(status), FieldOf(status), CodeOf(status));
}

HttpReply ErrorReply(const absl::Status& status) {
  HttpReply reply{.status = HttpStatusOf(status), .body = Dump(ErrorBody(status))};
  if (reply.status == 401) reply.headers.emplace_back("www-authenticate", "Bearer");
  if (const auto after = RetryAfterOf(status); after.has_value()) {
    const double seconds = absl::ToDoubleSeconds(*after);
    reply.headers.emplace_back("retry-after", absl::StrCat(static_cast<int64_t>(std::ceil(seconds))));
    reply.headers.emplace_back("retry-after-ms", absl::StrCat(static_cast<int64_t>(std::ceil(seconds * 1000))));
  }
  return reply;
}

HttpReply PlainErrorReply(int status, std::string_view message) {
  HttpReply reply{.status = status, .body = Dump(ErrorObject(message, status, "", ""))};
  if (status == 429) reply.headers.emplace_back("retry-after", "1");
  return reply;
}

std::string Dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace diptych::gateway
