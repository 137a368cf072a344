#include "gateway/http/http_api.h"

#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/grpc_status.h"
#include "common/status.h"
#include "gateway/http/openai_call.h"
#include "gateway/http/openai_reply.h"
#include "gateway/http/openai_request.h"
#include "gateway/http/static_files.h"

namespace diptych::gateway {
namespace {

using nlohmann::ordered_json;

constexpr char kGet[] = "GET";
constexpr char kPost[] = "POST";
constexpr char kModels[] = "/v1/models";
constexpr char kPlan[] = "/v1/diptych/plan";
constexpr char kAnalyze[] = "/v1/diptych/analyze";
constexpr char kStatus[] = "/v1/diptych/status";
constexpr char kChat[] = "/v1/chat/completions";
constexpr char kCompletions[] = "/v1/completions";

// kGet or kPost, the one that the path takes; nullptr if there is nothing.
const char* MethodOf(const std::string& path) {
  for (const char* known : {kChat, kCompletions, kPlan, kAnalyze}) {
    if (path == known) return kPost;
  }
  for (const char* known : {kModels, kStatus, "/healthz/live", "/healthz/ready", "/metrics"}) {
    if (path == known) return kGet;
  }
  return absl::StartsWith(path, absl::StrCat(kModels, "/")) || IsStaticFile(path) ? kGet : nullptr;
}

bool IsJson(const HttpRequest& request) {
  return absl::StartsWithIgnoreCase(request.content_type, "application/json");
}

ordered_json ModelObject(const v1::ModelDescription& model) {
  return {{"id", model.name()}, {"object", "model"}, {"created", 0}, {"owned_by", "diptych"}};
}

// One unary call whose messages are JSON.
template <typename Request, typename Response>
struct UnaryCall {
  grpc::ClientContext context;
  Request request;
  Response response;
};
using PlanCall = UnaryCall<v1::PlanContextRequest, v1::PlanContextResponse>;
using AnalyzeImageCall = UnaryCall<v1::AnalyzeImageRequest, v1::AnalyzeImageResponse>;
using StatusCall = UnaryCall<v1::GetModelRequest, v1::GetModelResponse>;

HttpReply ProtoReply(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  HttpReply reply;
  const auto written = google::protobuf::util::MessageToJsonString(message, &reply.body, options);
  return written.ok() ? reply : ErrorReply(absl::InternalError("no JSON"));
}

}  // namespace

HttpReply HttpApi::Models(const std::string& id) const {
  const std::optional<v1::ModelDescription> model = environment_.model();
  if (!model) {
    return ErrorReply(RetryLater(absl::StatusCode::kUnavailable, reason::kTierUnavailable,
                                 "no language replica has answered yet", absl::Seconds(1)));
  }
  if (id.empty()) return {.body = Dump({{"object", "list"}, {"data", {ModelObject(*model)}}})};
  if (id == model->name()) return {.body = Dump(ModelObject(*model))};
  return ErrorReply(MakeError(absl::StatusCode::kNotFound, reason::kModelUnknown, "no such model is served"));
}

void HttpApi::Plan(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const {
  auto call = std::make_shared<PlanCall>();
  const auto read = google::protobuf::util::JsonStringToMessage(request.body, &call->request);
  if (!read.ok()) {
    return exchange->Reply(ErrorReply(absl::InvalidArgumentError("the body is not the JSON form of PlanContextRequest")));
  }
  exchange->OnGone([weak = std::weak_ptr(call)] {
    if (const auto running = weak.lock()) running->context.TryCancel();
  });
  environment_.gateway->async()->PlanContext(
      &call->context, &call->request, &call->response,
      [call, exchange = std::move(exchange)](const grpc::Status& status) {
        exchange->Reply(status.ok() ? ProtoReply(call->response) : ErrorReply(FromGrpcStatus(status)));
      });
}

void HttpApi::Status(std::shared_ptr<HttpExchange> exchange) const {
  auto call = std::make_shared<StatusCall>();
  environment_.gateway->async()->GetModel(
      &call->context, &call->request, &call->response,
      [call, exchange = std::move(exchange)](const grpc::Status& status) {
        exchange->Reply(status.ok() ? ProtoReply(call->response) : ErrorReply(FromGrpcStatus(status)));
      });
}

void HttpApi::Analyze(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const {
  auto read = ReadAnalyzeRequest(request.body);
  if (!read.ok()) return exchange->Reply(ErrorReply(read.status()));
  auto call = std::make_shared<AnalyzeImageCall>();
  call->request = *std::move(read);
  call->request.set_request_id(request.request_id);
  exchange->OnGone([weak = std::weak_ptr(call)] {
    if (const auto running = weak.lock()) running->context.TryCancel();
  });
  environment_.gateway->async()->AnalyzeImage(
      &call->context, &call->request, &call->response,
      [call, exchange = std::move(exchange)](const grpc::Status& status) {
        if (!status.ok()) return exchange->Reply(ErrorReply(FromGrpcStatus(status)));
        HttpReply reply = ProtoReply(call->response);
        reply.headers.emplace_back("x-request-id", call->response.request_id());
        exchange->Reply(std::move(reply));
      });
}

void HttpApi::Ask(OpenAiKind kind, HttpRequest request, std::shared_ptr<HttpExchange> exchange) const {
  absl::StatusOr<OpenAiRequest> read =
      kind == OpenAiKind::kChat ? ReadChatRequest(request.body) : ReadCompletionRequest(request.body);
  if (!read.ok()) return exchange->Reply(ErrorReply(read.status()));
  read->question.set_request_id(request.request_id);
  ReplyHead head{.kind = kind,
                 .id = "",
                 .created = absl::ToUnixSeconds(absl::Now()),
                 .model = "",
                 .logprobs = read->question.generation().logprobs() > 0,
                 .top_logprobs = read->top_logprobs,
                 .echo = read->echo ? read->question.prompt() : ""};
  StartOpenAiCall(environment_.gateway, *std::move(read), std::move(head), std::move(exchange));
}

HttpReply HttpApi::Read(const std::string& path) const {
  if (path == "/healthz/live") return {.content_type = "text/plain", .body = "live\n"};
  if (path == "/healthz/ready") {
    const bool ready = environment_.ready();
    return {.status = ready ? 200 : 503,
            .content_type = "text/plain",
            .body = ready ? "ready\n" : "the language tier is not reachable\n"};
  }
  if (path == "/metrics") {
    return {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = environment_.metrics()};
  }
  return Models(path == kModels ? "" : path.substr(sizeof kModels));
}

void HttpApi::Handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) const {
  const char* method = MethodOf(request.path);
  if (method == nullptr) return exchange->Reply(PlainErrorReply(404, "there is nothing at this path"));
  if (request.method != method) {
    HttpReply reply = PlainErrorReply(405, absl::StrCat(request.path, " takes ", method));
    reply.headers.emplace_back("allow", method);
    return exchange->Reply(std::move(reply));
  }
  if (IsStaticFile(request.path)) return exchange->Reply(StaticFile(request.path, request.if_none_match));
  if (request.path == kStatus) return Status(std::move(exchange));
  if (request.method == kGet) return exchange->Reply(Read(request.path));
  if (!IsJson(request)) return exchange->Reply(PlainErrorReply(415, "the content-type must be application/json"));
  if (request.path == kPlan) return Plan(request, std::move(exchange));
  if (request.path == kAnalyze) return Analyze(request, std::move(exchange));
  const OpenAiKind kind = request.path == kChat ? OpenAiKind::kChat : OpenAiKind::kCompletion;
  Ask(kind, std::move(request), std::move(exchange));
}

}  // namespace diptych::gateway
