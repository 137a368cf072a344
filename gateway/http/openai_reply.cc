#include "gateway/http/openai_reply.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status.h"
#include "common/text/message_json.h"

namespace diptych::gateway {
namespace {

using nlohmann::ordered_json;

const char* FinishWord(v1::FinishReason reason) {
  return reason == v1::FINISH_REASON_LENGTH ? "length" : "stop";
}

// The caller's prompt, empty in a chat.
const CompletionPrompt& PromptOf(const ReplyHead& head, int choice) {
  static const auto& none = *new CompletionPrompt;
  return head.prompts.empty() ? none : head.prompts[static_cast<size_t>(choice / head.choices)];
}

// The scores of the caller's tokens. A text begins with a token that the caller did not write.
LogprobSteps OwnScores(const ReplyHead& head, int choice, const LogprobSteps& scores) {
  LogprobSteps own;
  if (!head.echo) return own;
  const int first = PromptOf(head, choice).ids.empty() ? 1 : 0;
  if (first < scores.size()) own.Add(scores.begin() + first, scores.end());
  return own;
}

std::string EchoOf(const ReplyHead& head, int choice, const LogprobSteps& scores) {
  if (!head.echo) return "";
  const CompletionPrompt& prompt = PromptOf(head, choice);
  return prompt.ids.empty() ? prompt.text : JoinedText(scores);
}

// After an echoed prompt the text is shown as generated; an answer alone is stripped.
std::string TextOf(const ReplyHead& head, const std::string& text, const LogprobSteps& steps, ShownText& shown) {
  return head.echo ? shown.generated.Push(text, steps) : text;
}

std::string RestOf(const ReplyHead& head, const v1::Answer& answer, const ShownText& shown) {
  return head.echo ? shown.generated.Finish(answer.finish_reason(), head.generation) : "";
}

std::string WholeText(const ReplyHead& head, const v1::Answer& answer, ShownText& shown) {
  const std::string text = TextOf(head, answer.text(), answer.logprobs(), shown);
  return text + RestOf(head, answer, shown);
}

ordered_json Logprobs(const ReplyHead& head, const LogprobSteps& prompt, const LogprobSteps& steps,
                      TextOffsets& offsets) {
  if (!head.logprobs) return nullptr;
  return head.kind == OpenAiKind::kChat ? ChatLogprobs(steps, head.top_logprobs)
                                        : CompletionLogprobs(prompt, steps, head.top_logprobs, offsets);
}

double MeanLogprob(const v1::Answer& answer) {
  double sum = 0;
  for (const v1::StepLogprobs& step : answer.logprobs()) sum += step.chosen().logprob();
  return sum / std::max(answer.logprobs_size(), 1);
}

// The answers that are shown, in the order of their prompts.
std::vector<const v1::Answer*> Shown(const ReplyHead& head, const std::vector<v1::Answer>& answers) {
  std::vector<const v1::Answer*> shown;
  const auto draws = static_cast<size_t>(head.draws), choices = static_cast<size_t>(head.choices);
  for (size_t first = 0; first + draws <= answers.size(); first += draws) {
    std::vector<const v1::Answer*> of_prompt;
    for (size_t i = first; i < first + draws; ++i) of_prompt.push_back(&answers[i]);
    if (draws > choices) {
      std::stable_sort(of_prompt.begin(), of_prompt.end(),
                       [](const v1::Answer* a, const v1::Answer* b) { return MeanLogprob(*a) > MeanLogprob(*b); });
    }
    shown.insert(shown.end(), of_prompt.begin(), of_prompt.begin() + static_cast<int64_t>(choices));
  }
  return shown;
}

ordered_json Envelope(const ReplyHead& head, bool chunk) {
  const char* object = head.kind == OpenAiKind::kCompletion ? "text_completion"
                       : chunk                              ? "chat.completion.chunk"
                                                            : "chat.completion";
  return {{"id", head.id}, {"object", object}, {"created", head.created}, {"model", head.model}};
}

// A prompt counts once for all answers to it.
ordered_json UsageOf(const ReplyHead& head, const std::vector<v1::Answer>& answers) {
  int prompt = 0, cached = 0, completion = 0;
  const auto each = std::max<size_t>(answers.size() / std::max<size_t>(head.prompts.size(), 1), 1);
  for (size_t first = 0; first < answers.size(); first += each) {
    int cached_of_prompt = 0;
    for (size_t i = first; i < std::min(first + each, answers.size()); ++i) {
      cached_of_prompt = std::max(cached_of_prompt, answers[i].usage().cached_tokens());
      completion += answers[i].usage().completion_tokens();
    }
    prompt += answers[first].usage().prompt_tokens();
    cached += cached_of_prompt;
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
  if (head.include_usage) chunk["usage"] = nullptr;
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

// Of an error that has no reason of its own.
const char* CodeOf(int http_status) {
  switch (http_status) {
    case 400:
      return "invalid_request";
    case 401:
      return "invalid_api_key";
    case 403:
      return "forbidden";
    case 404:
      return "unknown_path";
    case 405:
      return "method_not_allowed";
    case 408:
      return "request_timeout";
    case 413:
      return "request_too_large";
    case 415:
      return "unsupported_content";
    case 429:
      return "queue_full";
    case 431:
      return "header_too_large";
    case 499:
      return "cancelled";
    case 501:
      return "unsupported";
    case 503:
      return "unavailable";
    case 504:
      return "deadline_exceeded";
    default:
      return "internal_error";
  }
}

// The word that OpenAI has for the reason, else our own.
std::string CodeOf(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  if (reason.empty()) return CodeOf(HttpStatusOf(status));
  return reason == reason::kModelUnknown ? "model_not_found" : absl::AsciiStrToLower(reason);
}

// "max_tokens takes ..." and "\"tools\" asks ..." name what they are about; "n" is also in "a number".
bool Names(absl::string_view message, absl::string_view field) {
  absl::ConsumePrefix(&message, "\"");
  return absl::ConsumePrefix(&message, field) && (message.empty() || message[0] == ' ' || message[0] == '"');
}

// Of a member of the body that is at fault: clients often show the message alone.
std::string MessageOf(const absl::Status& status) {
  const std::string field = FieldOf(status);
  std::string message(status.message());
  const bool is_named = Names(message, field) || Names(message, field.substr(field.rfind('.') + 1));
  return field.empty() || is_named ? message : absl::StrCat(field, ": ", message);
}

ordered_json ErrorObject(std::string_view message, int http_status, std::string_view param, std::string_view code) {
  return {{"error",
           {{"message", message},
            {"type", ErrorType(http_status)},
            {"param", param.empty() ? ordered_json(nullptr) : ordered_json(param)},
            {"code", code}}}};
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
  const std::vector<const v1::Answer*> shown = Shown(head, answers);
  for (size_t i = 0; i < shown.size(); ++i) {
    const v1::Answer& answer = *shown[i];
    const auto index = static_cast<int>(i);
    ShownText shown_text(head);
    ordered_json choice{{"index", i}};
    if (head.kind == OpenAiKind::kChat) {
      choice["message"] = {{"role", "assistant"}, {"content", answer.text()}, {"refusal", nullptr}};
    } else {
      choice["text"] = EchoOf(head, index, answer.prompt_logprobs()) + WholeText(head, answer, shown_text);
    }
    const LogprobSteps own = OwnScores(head, index, answer.prompt_logprobs());
    if (own.empty()) shown_text.offsets.Of(EchoOf(head, index, {}));
    choice["logprobs"] = Logprobs(head, own, answer.logprobs(), shown_text.offsets);
    choice["finish_reason"] = FinishWord(answer.finish_reason());
    choices.push_back(std::move(choice));
    measured.push_back(Measured(answer));
  }
  reply["choices"] = std::move(choices);
  reply["usage"] = UsageOf(head, answers);
  reply["diptych"] = measured.size() == 1 ? std::move(measured[0]) : std::move(measured);
  return reply;
}

std::optional<ordered_json> FirstChunk(const ReplyHead& head, int choice, const v1::Delta& delta, ShownText& shown) {
  if (head.kind == OpenAiKind::kChat) {
    ordered_json chunk = ChunkOf(head, choice, "", nullptr, nullptr);
    chunk["choices"][0]["delta"] = {{"role", "assistant"}, {"content", ""}};
    return chunk;
  }
  const LogprobSteps own = OwnScores(head, choice, delta.prompt_logprobs());
  const std::string echo = EchoOf(head, choice, delta.prompt_logprobs());
  if (echo.empty() && own.empty()) return std::nullopt;
  if (own.empty()) shown.offsets.Of(echo);
  ordered_json logprobs = own.empty() ? ordered_json(nullptr) : Logprobs(head, own, {}, shown.offsets);
  return ChunkOf(head, choice, echo, std::move(logprobs), nullptr);
}

std::optional<ordered_json> DeltaChunk(const ReplyHead& head, int choice, const v1::Delta& delta, ShownText& shown) {
  const std::string text = TextOf(head, delta.text(), delta.logprobs(), shown);
  if (text.empty() && !head.logprobs) return std::nullopt;
  return ChunkOf(head, choice, text, Logprobs(head, {}, delta.logprobs(), shown.offsets), nullptr);
}

ordered_json LastChunk(const ReplyHead& head, int choice, const v1::Answer& answer, const ShownText& shown) {
  ordered_json chunk = ChunkOf(head, choice, RestOf(head, answer, shown), nullptr, FinishWord(answer.finish_reason()));
  chunk["diptych"] = Measured(answer);
  return chunk;
}

ordered_json UsageChunk(const ReplyHead& head, const std::vector<v1::Answer>& answers) {
  ordered_json chunk = Envelope(head, /*chunk=*/true);
  chunk["choices"] = ordered_json::array();
  chunk["usage"] = UsageOf(head, answers);
  return chunk;
}

ordered_json ErrorBody(const absl::Status& status) {
  const bool ours = status.code() == absl::StatusCode::kInternal || status.code() == absl::StatusCode::kUnknown;
  return ErrorObject(ours ? "the server failed" : MessageOf(status), HttpStatusOf(status), FieldOf(status),
                     CodeOf(status));
}

HttpReply ErrorReply(const absl::Status& status) {
  HttpReply reply{
      .status = HttpStatusOf(status), .body = Dump(ErrorBody(status)), .reason = absl::AsciiStrToUpper(CodeOf(status))};
  if (reply.status == 401) reply.headers.emplace_back("www-authenticate", "Bearer");
  if (const auto after = RetryAfterOf(status); after.has_value()) {
    const double seconds = absl::ToDoubleSeconds(*after);
    reply.headers.emplace_back("retry-after", absl::StrCat(static_cast<int64_t>(std::ceil(seconds))));
    reply.headers.emplace_back("retry-after-ms", absl::StrCat(static_cast<int64_t>(std::ceil(seconds * 1000))));
  }
  return reply;
}

HttpReply PlainErrorReply(int status, std::string_view message) {
  HttpReply reply{.status = status,
                  .body = Dump(ErrorObject(message, status, "", CodeOf(status))),
                  .reason = absl::AsciiStrToUpper(CodeOf(status))};
  if (status == 429 || status == 503) reply.headers.emplace_back("retry-after", "1");
  return reply;
}

std::string Dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace diptych::gateway
