#include "gateway/http/http_api.h"

#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/wire.h"
#include "common/metrics/metrics.h"
#include "common/process/build_info.h"
#include "common/status.h"
#include "common/text/json_input.h"
#include "gateway/http/json_members.h"
#include "gateway/http/openai_call.h"
#include "gateway/http/openai_form.h"
#include "gateway/http/openai_reply.h"
#include "gateway/http/openai_request.h"
#include "gateway/http/openapi.h"
#include "gateway/http/paths.h"
#include "gateway/http/responses_form.h"
#include "gateway/http/responses_request.h"
#include "gateway/http/static_files.h"
#include "gateway/http/tokenize_request.h"
#include "gateway/http/unary_call.h"

namespace diptych::gateway {
namespace {

using nlohmann::ordered_json;

constexpr char kGet[] = "GET";
constexpr char kHead[] = "HEAD";
constexpr char kPost[] = "POST";
constexpr char kOptions[] = "OPTIONS";
constexpr char kModels[] = "/v1/models";
constexpr char kPlan[] = "/v1/diptych/plan";
constexpr char kAnalyze[] = "/v1/diptych/analyze";
constexpr char kStatus[] = "/v1/diptych/status";
constexpr char kChat[] = "/v1/chat/completions";
constexpr char kCompletions[] = "/v1/completions";
constexpr char kResponses[] = "/v1/responses";
constexpr char kTokenize[] = "/v1/tokenize";
constexpr char kDetokenize[] = "/v1/detokenize";
constexpr char kLive[] = "/healthz/live";
constexpr char kReady[] = "/healthz/ready";
constexpr char kHealth[] = "/health";
constexpr char kPing[] = "/ping";
constexpr char kVersion[] = "/version";
constexpr char kMetrics[] = "/metrics";
constexpr char kTooLarge[] = "the body is too large: shorten the text, or send fewer or smaller images";
constexpr char kDescription[] = "/openapi.json";

constexpr HttpApi::Route kRoutes[] = {
    {kPost, kChat},
    {kPost, kCompletions},
    {kPost, kResponses},
    {kPost, kTokenize},
    {kPost, kDetokenize},
    {kGet, kModels},
    {kGet, "/v1/models/{model}"},
    {kPost, kAnalyze},
    {kPost, kPlan},
    {kGet, kStatus},
    {kGet, kLive},
    {kGet, kReady},
    {kGet, kHealth},
    {kGet, kPing},
    {kGet, kVersion},
    {kGet, kMetrics},
    {kGet, kDescription},
    {kGet, "/"},
    {kGet, "/playground/{file}"},
};

// A route's path is the whole path, or ends with a placeholder in braces that matches any name.
bool Matches(std::string_view route, std::string_view path) {
  const size_t name = route.find('{');
  return name == route.npos ? path == route : path.size() > name && path.substr(0, name) == route.substr(0, name);
}

// kGet or kPost, the one that the path takes; nullptr if there is nothing.
const char* MethodOf(const std::string& path) {
  if (absl::StartsWith(path, "/playground/") && !IsStaticFile(path)) return nullptr;
  for (const HttpApi::Route& route : kRoutes) {
    if (Matches(route.path, path)) return route.method;
  }
  return nullptr;
}

// The page, health and metrics need no key.
bool NeedsKey(const std::string& path) {
  return absl::StartsWith(path, "/v1/");
}

constexpr char kJsonType[] = "application/json";

// Without its parameters.
bool IsJson(const HttpRequest& request) {
  const std::string type = request.content_type.substr(0, request.content_type.find(';'));
  return absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(type), kJsonType);
}

// A path's own method, and those that every such path has.
std::string AllowedMethods(const char* method) {
  return method == kGet ? "GET, HEAD, OPTIONS" : absl::StrCat(method, ", OPTIONS");
}

HttpReply WithAllow(HttpReply reply, const char* method) {
  reply.headers.emplace_back("allow", AllowedMethods(method));
  return reply;
}

// Encoded bodies stay unread: what they become has no bound.
std::optional<HttpReply> CheckBodyForm(const HttpRequest& head) {
  if (!head.content_encoding.empty() && !absl::EqualsIgnoreCase(head.content_encoding, "identity")) {
    HttpReply reply = PlainErrorReply(415, "a body is taken as it is, without content-encoding");
    reply.headers.emplace_back("accept-encoding", "identity");
    return reply;
  }
  if (!IsJson(head)) {
    const char* none = head.content_type.empty() ? "; there is none" : "";
    return PlainErrorReply(415, absl::StrCat("the content-type must be ", kJsonType, none));
  }
  return std::nullopt;
}

HttpReply NothingAt(std::string_view path) {
  const std::string meant(MeantPath(path)), why(WhyNothingAt(path));
  const std::string hint = !meant.empty() ? absl::StrCat("; did you mean ", meant, "? ")
                           : !why.empty() ? absl::StrCat(": ", why, "; ")
                                          : ": ";
  return PlainErrorReply(404, absl::StrCat("there is nothing at this path", hint, "/openapi.json lists the paths"));
}

ordered_json ModelObject(const std::string& name) {
  return {{"id", name}, {"object", "model"}, {"created", 0}, {"owned_by", "diptych"}};
}

HttpReply ProtoReply(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  HttpReply reply;
  const auto written = google::protobuf::util::MessageToJsonString(message, &reply.body, options);
  return written.ok() ? reply : ErrorReply(absl::InternalError("no JSON"));
}

// The first member that a message cannot be read from.
template <typename Message>
std::string MisfitOf(const nlohmann::json& object) {
  for (const auto& [name, value] : object.items()) {
    Message message;
    const std::string alone = nlohmann::json{{name, value}}.dump();
    if (!google::protobuf::util::JsonStringToMessage(alone, &message).ok()) return name.substr(0, 64);
  }
  return "";
}

// The first member that names a field for the second time: protobuf knows each as max_new_tokens and as maxNewTokens.
std::string SecondNameOf(const nlohmann::json& object) {
  std::set<std::string> fields;
  for (const auto& [name, value] : object.items()) {
    if (!fields.insert(absl::AsciiStrToLower(absl::StrReplaceAll(name, {{"_", ""}}))).second) return name;
  }
  return "";
}

// The RPC's answer or error as JSON.
HttpReply ReplyOf(const grpc::Status& status, const google::protobuf::Message& response) {
  return status.ok() ? ProtoReply(response) : ErrorReply(FromGrpcStatus(status));
}

}  // namespace

HttpReply HttpApi::Models(const std::string& name) const {
  const std::vector<std::string> names = environment_.model_names();
  if (names.empty()) {
    return ErrorReply(RetryLater(absl::StatusCode::kUnavailable, reason::kTierUnavailable,
                                 "no language replica has answered yet", absl::Seconds(1)));
  }
  if (!name.empty()) {
    const absl::Status known = environment_.check_model(name);
    return known.ok() ? HttpReply{.body = Dump(ModelObject(name))} : ErrorReply(known);
  }
  ordered_json list = ordered_json::array();
  for (const std::string& each : names) list.push_back(ModelObject(each));
  return {.body = Dump({{"object", "list"}, {"data", std::move(list)}})};
}

// gRPC would refuse it in words of its own, as if waiting would help.
bool HttpApi::Fits(const google::protobuf::Message& message) const {
  constexpr size_t kAround = 1024;  // what a request adds to its question
  return message.ByteSizeLong() + kAround <= environment_.max_message_bytes;
}

HandedOn HttpApi::HandedOnOf(const HttpRequest& request) const {
  return {.authorization = environment_.needs_keys ? request.authorization : "",
          .trace = request.trace,
          .request_id = request.request_id};
}

void HttpApi::Plan(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const {
  // Protobuf's own reader knows no bound on depth and number of values, and takes a key that comes twice.
  const auto bounded = ParseJsonObject(request.body);
  if (!bounded.ok()) return exchange->Reply(ErrorReply(bounded.status()));
  if (const std::string again = SecondNameOf(*bounded); !again.empty()) {
    return exchange->Reply(ErrorReply(Invalid(again, "is there twice, under two names")));
  }
  v1::PlanContextRequest plan;
  if (!google::protobuf::util::JsonStringToMessage(request.body, &plan).ok()) {
    return exchange->Reply(ErrorReply(Invalid(MisfitOf<v1::PlanContextRequest>(*bounded),
                                              "is not what this path takes: /openapi.json describes it")));
  }
  if (!Fits(plan)) return exchange->Reply(PlainErrorReply(413, kTooLarge));
  const auto send = [this](auto... call) { environment_.gateway->async()->PlanContext(std::move(call)...); };
  CallGateway<v1::PlanContextResponse>(std::move(plan), HandedOnOf(request), std::move(exchange), send, ReplyOf);
}

void HttpApi::Status(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const {
  const auto send = [this](auto... call) { environment_.gateway->async()->GetModel(std::move(call)...); };
  CallGateway<v1::GetModelResponse>(v1::GetModelRequest(), HandedOnOf(request), std::move(exchange), send, ReplyOf);
}

template <typename Response, typename Body, typename Send, typename Reply>
void HttpApi::AskTokenizer(absl::StatusOr<Body> read, const HttpRequest& request,
                           std::shared_ptr<HttpExchange> exchange, Send send, Reply reply) const {
  if (!read.ok()) return exchange->Reply(ErrorReply(read.status()));
  if (const absl::Status known = environment_.check_model(read->model); !known.ok()) {
    return exchange->Reply(ErrorReply(known));
  }
  CallGateway<Response>(std::move(read->request), HandedOnOf(request), std::move(exchange), send,
                        [names = std::move(read->names), reply](const grpc::Status& status, const Response& response) {
                          return status.ok() ? HttpReply{.body = Dump(reply(response))}
                                             : ErrorReply(InCallersNames(FromGrpcStatus(status), names));
                        });
}

void HttpApi::Tokenize(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const {
  const auto send = [this](auto... call) { environment_.gateway->async()->Tokenize(std::move(call)...); };
  AskTokenizer<v1::TokenizeResponse>(ReadTokenizeRequest(request.body, environment_.system_prompt), request,
                                     std::move(exchange), send, TokenizeReply);
}

void HttpApi::Detokenize(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const {
  const auto send = [this](auto... call) { environment_.gateway->async()->Detokenize(std::move(call)...); };
  AskTokenizer<v1::DetokenizeResponse>(ReadDetokenizeRequest(request.body), request, std::move(exchange), send,
                                       DetokenizeReply);
}

void HttpApi::Analyze(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const {
  auto read = ReadAnalyzeRequest(request.body);
  if (!read.ok()) return exchange->Reply(ErrorReply(read.status()));
  read->set_request_id(request.request_id);
  if (!Fits(*read)) return exchange->Reply(PlainErrorReply(413, kTooLarge));
  const auto send = [this](auto... call) { environment_.gateway->async()->AnalyzeImage(std::move(call)...); };
  CallGateway<v1::AnalyzeImageResponse>(*std::move(read), HandedOnOf(request), std::move(exchange), send,
                                        [](const grpc::Status& status, const v1::AnalyzeImageResponse& response) {
                                          if (!status.ok())
                                            return ErrorReply(InCallersNames(FromGrpcStatus(status), {}));
                                          return ProtoReply(response);
                                        });
}

void HttpApi::Complete(OpenAiKind kind, HttpRequest request, std::shared_ptr<HttpExchange> exchange) const {
  absl::StatusOr<OpenAiRequest> read = kind == OpenAiKind::kChat
                                           ? ReadChatRequest(request.body, environment_.system_prompt)
                                           : ReadCompletionRequest(request.body);
  if (!read.ok()) return exchange->Reply(ErrorReply(read.status()));
  ReplyHead head{.kind = kind,
                 .id = "",
                 .created = absl::ToUnixSeconds(absl::Now()),
                 .model = "",
                 .logprobs = read->logprobs,
                 .top_logprobs = read->top_logprobs,
                 .include_usage = read->include_usage,
                 .echo = read->echo,
                 .generation = read->question.generation(),
                 .prompts = read->prompts,
                 .choices = read->choices,
                 .draws = read->draws};
  Ask(*std::move(read), std::make_unique<OpenAiForm>(std::move(head)), request, std::move(exchange));
}

void HttpApi::Respond(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const {
  absl::StatusOr<ResponsesRequest> read = ReadResponsesRequest(request.body, environment_.system_prompt);
  if (!read.ok()) return exchange->Reply(ErrorReply(read.status()));
  auto form = std::make_unique<ResponsesForm>(std::move(read->echo), absl::ToUnixSeconds(absl::Now()));
  Ask(std::move(read->question), std::move(form), request, std::move(exchange));
}

void HttpApi::Ask(OpenAiRequest asked, std::unique_ptr<AnswerForm> form, const HttpRequest& request,
                  std::shared_ptr<HttpExchange> exchange) const {
  asked.question.set_request_id(request.request_id);
  size_t prompt_bytes = 0;
  for (const auto& prompt : asked.prompts) prompt_bytes += prompt.text.size() + sizeof(int32_t) * prompt.ids.size();
  if (prompt_bytes > environment_.max_message_bytes || !Fits(asked.question))
    return exchange->Reply(PlainErrorReply(413, kTooLarge));
  HandedOn handed_on = HandedOnOf(request);
  if (const int questions = asked.Questions(); questions > 1) handed_on.place = environment_.open_place(questions);
  StartOpenAiCall(environment_.channel, std::move(asked), std::move(form), std::move(handed_on),
                  environment_.max_images_bytes, std::move(exchange));
}

HttpReply HttpApi::Read(const std::string& path) const {
  if (path == kDescription) return {.body = std::string(OpenApiDocument())};
  if (path == kLive) return {.content_type = "text/plain", .body = "live\n"};
  if (path == kVersion) return {.body = Dump({{"version", Version()}})};
  if (path == kReady || path == kHealth || path == kPing) {
    const absl::Status ready = environment_.ready();
    return {.status = ready.ok() ? 200 : 503,
            .content_type = "text/plain",
            .body = ready.ok() ? "ready\n" : absl::StrCat(ready.message(), "\n"),
            .is_logged = true};  // whatever changed has its line, and probes come again and again
  }
  if (path == kMetrics) {
    return {.content_type = MetricRegistry::ContentType(MetricRegistry::Format::kText), .body = environment_.metrics()};
  }
  return Models(path == kModels ? "" : NameInPath(path.substr(sizeof kModels)));
}

std::span<const HttpApi::Route> HttpApi::Routes() {
  return kRoutes;
}

HttpVerdict HttpApi::Check(const HttpRequest& head) const {
  const std::string path = CanonicalPath(head.path);
  const char* method = MethodOf(path);
  if (method == nullptr) return {.refusal = NothingAt(path)};
  if (head.method == kOptions) return {.refusal = WithAllow({.status = 204, .body = {}}, method)};
  const bool asks_for_header = head.method == kHead && method == kGet;
  if (head.method != method && !asks_for_header) {
    return {.refusal = WithAllow(PlainErrorReply(405, absl::StrCat("this path takes ", method)), method)};
  }
  HttpVerdict verdict{.is_open = !NeedsKey(path)};
  if (!verdict.is_open) {
    auto caller = environment_.identify(head.authorization);
    if (!caller.ok()) return {.refusal = ErrorReply(caller.status())};
    verdict.caller = *std::move(caller);
  }
  if (method == kPost) verdict.refusal = CheckBodyForm(head);
  if (method == kGet) verdict.max_body_bytes = kMaxShortRequestBytes;  // of what means nothing
  if (path == kPlan || path == kDetokenize) verdict.max_body_bytes = kMaxTextRequestBytes;
  return verdict;
}

void HttpApi::Handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) const {
  // No body has no type; it is refused as empty.
  if (request.body.empty() && request.content_type.empty()) request.content_type = kJsonType;
  if (auto refusal = Check(request).refusal) return exchange->Reply(*std::move(refusal));
  request.path = CanonicalPath(request.path);
  if (IsStaticFile(request.path)) return exchange->Reply(StaticFile(request.path, request.if_none_match));
  if (request.path == kStatus) return Status(request, std::move(exchange));
  if (MethodOf(request.path) == kGet) return exchange->Reply(Read(request.path));
  if (request.path == kPlan) return Plan(request, std::move(exchange));
  if (request.path == kTokenize) return Tokenize(request, std::move(exchange));
  if (request.path == kDetokenize) return Detokenize(request, std::move(exchange));
  if (request.path == kAnalyze) return Analyze(request, std::move(exchange));
  if (request.path == kResponses) return Respond(request, std::move(exchange));
  const OpenAiKind kind = request.path == kChat ? OpenAiKind::kChat : OpenAiKind::kCompletion;
  Complete(kind, std::move(request), std::move(exchange));
}

}  // namespace diptych::gateway
