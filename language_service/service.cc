#include "language_service/service.h"

#include "common/status.h"
#include "common/unary_reply.h"
#include "common/wire.h"
#include "language_service/analyze_queries_call.h"

namespace diptych::language {
namespace {

absl::StatusOr<grpc::ByteBuffer> CountTokensOnWire(const grpc::ByteBuffer& bytes, const ServedLanguageModel& model) {
  v1::CountTokensRequest request;
  DIPTYCH_RETURN_IF_ERROR(ParseTextRequest(bytes, request));
  DIPTYCH_ASSIGN_OR_RETURN(const v1::CountTokensResponse counts, CountTokens(request, model));
  return SerializeMessage(counts);
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* LanguageRpc::Generate(grpc::CallbackServerContext* context,
                                                                  const grpc::ByteBuffer* request) {
  return new GenerateCall(shared_, *context, *request);
}

grpc::ServerUnaryReactor* LanguageRpc::AnalyzeQueries(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return new AnalyzeQueriesCall(shared_, *context, *request, response);
}

grpc::ServerUnaryReactor* LanguageRpc::CountTokens(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  auto counts = CountTokensOnWire(*request, *shared_.model);
  if (counts.ok()) *response = *std::move(counts);
  return ReplyNow(*context, counts.status());
}

grpc::ServerUnaryReactor* LanguageRpc::GetLanguageModel(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
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
