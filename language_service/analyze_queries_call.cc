#include "language_service/analyze_queries_call.h"

#include <ATen/core/Tensor.h>

#include <cmath>
#include <utility>
#include <vector>

#include "common/grpc/grpc_status.h"
#include "common/grpc/metadata.h"
#include "common/grpc/wire.h"
#include "common/logging/request_log.h"
#include "common/status.h"
#include "common/tracing/request_span.h"
#include "language_service/question_reader.h"
#include "language_service/request_memory.h"

namespace diptych::language {
namespace {

// query_attention [Q, P] float32, row-major: in each row the class token's share, then those of a square of patches.
v1::AnalyzeQueriesResponse ToResponse(const at::Tensor& query_attention) {
  const int64_t tokens = query_attention.size(1);
  const auto side = static_cast<int>(std::lround(std::sqrt(static_cast<double>(tokens - 1))));
  v1::AnalyzeQueriesResponse response;
  const float* row = query_attention.const_data_ptr<float>();
  for (int64_t query = 0; query < query_attention.size(0); ++query, row += tokens) {
    v1::AttentionMap& map = *response.add_query_attention();
    map.set_class_token(row[0]);
    map.mutable_patches()->set_rows(side);
    map.mutable_patches()->set_columns(side);
    map.mutable_patches()->mutable_values()->Add(row + 1, row + tokens);
  }
  return response;
}

}  // namespace

AnalyzeQueriesCall::AnalyzeQueriesCall(const GenerateContext& shared, const grpc::CallbackServerContext& context,
                                       const grpc::ByteBuffer& request, grpc::ByteBuffer* response)
    : shared_(shared),
      response_(response),
      call_(MakeCallContext(context, shared.longest_call)),
      timer_(context, call_->deadline() + kLastWrites),
      span_(shared.tracer->BeginCall(context, "diptych.v1.LanguageService/AnalyzeQueries", arrival_)),
      request_id_(RequestIdOf(context)),
      key_name_(KeyNameOf(context)) {
  if (const absl::Status status = Begin(request); !status.ok()) End(status);
}

absl::Status AnalyzeQueriesCall::Begin(const grpc::ByteBuffer& bytes) {
  DIPTYCH_ASSIGN_OR_RETURN(ticket_, shared_.gate->Enter());
  DIPTYCH_ASSIGN_OR_RETURN(memory_, shared_.memory->Take(BytesForMessage(static_cast<int64_t>(bytes.Length()))));
  v1::AnalyzeQueriesRequest request;
  DIPTYCH_RETURN_IF_ERROR(TakeRequest(bytes, request));
  if (!request.request_id().empty()) request_id_ = request.request_id();
  DIPTYCH_ASSIGN_OR_RETURN(ImageRequest image, ReadAnalysis(std::move(request), *shared_.model, shared_.limits));
  // The image's bytes go with its flight, which may outlive this call.
  image.memory = memory_.Split(BytesForImage(image));
  image.key_name = key_name_;
  image.trace = span_.context();
  image.message.set_dtype(shared_.wire_dtype);
  DIPTYCH_RETURN_IF_ERROR(memory_.Grow(BytesForQueryTokens(1, shared_.model->config) +
                                       BytesForQueryAttention(image.expected, shared_.model->config)));
  std::vector<ImageRequest> images;
  images.push_back(std::move(image));
  images_ = ImageCollector::Start(shared_.images, std::move(images), call_,
                                  [this](const absl::StatusOr<CollectedImages>& images) { OnImages(images); });
  return absl::OkStatus();
}

void AnalyzeQueriesCall::OnImages(const absl::StatusOr<CollectedImages>& collected) {
  if (collected.ok() && collected->last) vision_replica_ = collected->last->vision.replica;
  if (collected.ok()) *response_ = SerializeMessage(ToResponse(collected->images[0]->query_attention));
  End(collected.status());
}

void AnalyzeQueriesCall::OnCancel() {
  call_->Cancel();
  if (images_ != nullptr) images_->Cancel();
}

void AnalyzeQueriesCall::End(const absl::Status& status) {
  ticket_.Release();
  memory_.Release();
  const SteadyDuration took = SteadyClock::now() - arrival_;
  shared_.metrics->AnalysisEnded(status, took, RecordedTraceOf(span_));
  LogEnded({.method = "analyze_queries",
            .request_id = request_id_,
            .status = status,
            .duration = took,
            .key = key_name_,
            .replica = vision_replica_,
            .trace_id = TraceIdOf(span_.context())});
  SetRequest(span_, request_id_, key_name_);
  span_.End(status);
  Finish(ToGrpcStatus(status));
}

}  // namespace diptych::language
