#include "language_service/service.h"

#include <utility>

#include "common/grpc/unary_reply.h"
#include "common/grpc/wire.h"
#include "common/status.h"
#include "diptych/v1/language.grpc.pb.h"
#include "language_service/analyze_queries_call.h"

namespace diptych::language {
namespace {

// Answers on the wire what `answer` makes of a request.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* ReplyText(grpc::CallbackServerContext& context, const grpc::ByteBuffer& bytes,
                                    grpc::ByteBuffer& response, const ServedLanguageModel& model,
                                    absl::StatusOr<Response> (*answer)(const Request&, const ServedLanguageModel&)) {
  Request request;
  if (const absl::Status status = ParseTextRequest(bytes, request); !status.ok()) return ReplyNow(context, status);
  const absl::StatusOr<Response> answered = answer(request, model);
  if (answered.ok()) response = SerializeMessage(*answered);
  return ReplyNow(context, answered.status());
}

}  // namespace

LanguageService::LanguageService(const GenerateContext& shared, std::function<LanguageStats()> stats)
    : RawService(v1::LanguageService::service_full_name()), shared_(shared), stats_(std::move(stats)) {
  AddServerStream("Generate", std::bind_front(&LanguageService::Generate, this));
  AddUnary("AnalyzeQueries", std::bind_front(&LanguageService::AnalyzeQueries, this), Line::kOfMethod);
  AddUnary("CountTokens", std::bind_front(&LanguageService::CountTokens, this), Line::kAll);
  AddUnary("EncodePrompt", std::bind_front(&LanguageService::EncodePrompt, this), Line::kAll);
  AddUnary("DecodeTokens", std::bind_front(&LanguageService::DecodeTokens, this), Line::kAll);
  AddUnary("GetLanguageModel", std::bind_front(&LanguageService::GetLanguageModel, this), Line::kFailed,
           kShortPatience);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* LanguageService::Generate(grpc::CallbackServerContext* context,
                                                                      const grpc::ByteBuffer* request) {
  return new GenerateCall(shared_, *context, *request);
}

grpc::ServerUnaryReactor* LanguageService::AnalyzeQueries(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return new AnalyzeQueriesCall(shared_, *context, *request, response);
}

grpc::ServerUnaryReactor* LanguageService::CountTokens(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return ReplyText(*context, *request, *response, *shared_.model, language::CountTokens);
}

grpc::ServerUnaryReactor* LanguageService::EncodePrompt(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return ReplyText(*context, *request, *response, *shared_.model, language::EncodePrompt);
}

grpc::ServerUnaryReactor* LanguageService::DecodeTokens(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return ReplyText(*context, *request, *response, *shared_.model, language::DecodeTokens);
}

grpc::ServerUnaryReactor* LanguageService::GetLanguageModel(grpc::CallbackServerContext* context,
                                                            const grpc::ByteBuffer* request,
                                                            grpc::ByteBuffer* response) {
  v1::GetLanguageModelRequest read;
  const absl::Status status = ParseTextRequest(*request, read);
  if (status.ok()) {
    v1::GetLanguageModelResponse description;
    *description.mutable_model() = shared_.model->description;
    *description.mutable_load() = LoadOf(stats_());
    *response = SerializeMessage(description);
  }
  return ReplyNow(*context, status);
}

}  // namespace diptych::language
