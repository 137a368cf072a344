#include "gateway/analyze_call.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/grpc/call_context.h"
#include "common/grpc/call_timer.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/metadata.h"
#include "common/grpc/wire.h"
#include "common/logging/request_log.h"
#include "common/mutex.h"
#include "common/status.h"
#include "common/tracing/request_span.h"
#include "common/tracing/span.h"
#include "gateway/passed_deadline.h"
#include "gateway/request_id.h"
#include "gateway/tiers/request_affinity.h"
#include "gateway/tiers/tier_call.h"

namespace diptych::gateway {
namespace {

// Admission knows questions; the caller knows the fields of AnalyzeImageRequest.
absl::Status WithFieldOfAnalysis(const absl::Status& error) {
  const std::string field = FieldOf(error);
  if (field.empty()) return error;
  absl::string_view name = absl::StripPrefix(absl::string_view(field), "question.");
  if (absl::StartsWith(name, "images")) name = "image";
  const std::string own =
      absl::ConsumePrefix(&name, "image_options.") ? absl::StrCat("options.", name) : std::string(name);
  return InvalidField(ReasonOf(error), own, std::string(error.message()));
}

absl::Status Contradiction() {
  return MakeError(absl::StatusCode::kInternal, reason::kTierProtocol, "a tier sent an analysis of another shape");
}

bool HasShape(const v1::AttentionMap& map, int rows, int columns) {
  const v1::FloatGrid& grid = map.patches();
  return grid.rows() == rows && grid.columns() == columns && grid.values_size() == int64_t{rows} * columns;
}

// Requires: at least one map; all of one shape.
v1::AttentionMap MeanOf(const google::protobuf::RepeatedPtrField<v1::AttentionMap>& maps) {
  std::vector<double> sums(static_cast<size_t>(maps[0].patches().values_size()));
  double class_token = 0;
  for (const v1::AttentionMap& map : maps) {
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += map.patches().values(static_cast<int>(i));
    class_token += map.class_token();
  }
  v1::AttentionMap mean;
  mean.mutable_patches()->set_rows(maps[0].patches().rows());
  mean.mutable_patches()->set_columns(maps[0].patches().columns());
  for (const double sum : sums) mean.mutable_patches()->add_values(static_cast<float>(sum / maps.size()));
  mean.set_class_token(static_cast<float>(class_token / maps.size()));
  return mean;
}

// INVALID_ARGUMENT with OPTION_RANGE if maps are asked for together with token merging.
absl::Status CheckAnalysisOptions(const v1::AnalyzeImageRequest& request) {
  const bool maps = request.cls_attention() || request.qformer_attention();
  if (!maps || request.options().token_merging() == 0) return absl::OkStatus();
  return InvalidField(reason::kOptionRange, "options.token_merging",
                      "token_merging takes 0 for attention maps: a merged token has no one place");
}

// `queries` is empty unless request.qformer_attention(). Takes the maps out of both. All but request_id is filled in.
// INTERNAL with TIER_PROTOCOL if a tier's answer contradicts itself, the request or the other one.
absl::StatusOr<v1::AnalyzeImageResponse> MergeAnalysis(const v1::AnalyzeImageRequest& request,
                                                       v1::AnalyzeVisionResponse vision,
                                                       v1::AnalyzeQueriesResponse queries) {
  if (vision.patch_size() < 1 || vision.pixel_height() < vision.patch_size() ||
      vision.pixel_width() < vision.patch_size()) {
    return Contradiction();
  }
  const int rows = vision.pixel_height() / vision.patch_size();
  const int columns = vision.pixel_width() / vision.patch_size();
  if (request.cls_attention() && !HasShape(vision.cls_attention(), rows, columns)) return Contradiction();
  auto& maps = *queries.mutable_query_attention();
  const bool maps_fit =
      std::all_of(maps.begin(), maps.end(), [&](const auto& map) { return HasShape(map, rows, columns); });
  if (request.qformer_attention() && (maps.empty() || !maps_fit)) return Contradiction();

  v1::AnalyzeImageResponse response;
  for (const int side : {1, 3, vision.pixel_height(), vision.pixel_width()}) response.add_pixel_shape(side);
  response.set_patch_rows(rows);
  response.set_patch_columns(columns);
  for (const int size : {1, vision.tokens(), vision.width()}) response.add_feature_shape(size);
  response.set_visual_tokens(vision.tokens());
  response.set_visual_width(vision.width());
  response.set_mean_norm(vision.mean_norm());
  if (request.cls_attention()) *response.mutable_cls_attention() = std::move(*vision.mutable_cls_attention());
  if (request.qformer_attention()) {
    *response.mutable_mean_query_attention() = MeanOf(maps);
    *response.mutable_query_attention() = std::move(maps);
  }
  if (request.prepared_image()) response.set_prepared_image(std::move(*vision.mutable_prepared_image()));
  *response.mutable_image_size() = std::move(*vision.mutable_image_size());
  return response;
}

class AnalyzeCall final : public grpc::ServerUnaryReactor {
 public:
  AnalyzeCall(const AnalyzeEnvironment& environment, absl::StatusOr<Caller> caller,
              grpc::CallbackServerContext* context, const grpc::ByteBuffer& bytes, grpc::ByteBuffer* response)
      : environment_(environment), context_(context), response_(response) {
    const absl::Status status = admitted_.Read(std::move(caller), bytes, request_);
    status.ok() ? Begin() : End(status);
  }

 private:
  // Lets the request in as the question that it is but for its text.
  void Begin();
  // Has a place and the image.
  absl::Status OnEntered(absl::StatusOr<v1::Question> question);
  void AskTiers(v1::Image image);
  void FillVisionRequest(v1::Image image);
  void FillQueriesRequest(const v1::Image& image);
  void AskVision();
  void AskQueries();
  // `name` has what the two tiers differ in.
  template <typename Call>
  void Ask(Call& call, TierName name);
  // One tier has answered.
  void OnTierEnd(const absl::Status& status);
  absl::Status Merge();
  void End(const absl::Status& status);

  void OnCancel() override { admitted_.Abandon(); }
  void OnDone() override { delete this; }

  const AnalyzeEnvironment& environment_;
  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_;
  const SteadyTime arrival_ = SteadyClock::now();
  Span span_ = environment_.tracer->BeginCall(*context_, "diptych.v1.GatewayService/AnalyzeImage", arrival_);
  v1::AnalyzeImageRequest request_;  // its image goes to the tiers
  std::string request_id_;
  const std::shared_ptr<const CallContext> call_ = MakeCallContext(*context_, environment_.request_timeout);
  const CallTimer timer_{*context_, call_->deadline() + kLastWrites};
  AdmittedCall admitted_{*environment_.admission, call_->deadline()};
  TierCall<v1::AnalyzeVisionRequest, v1::AnalyzeVisionResponse> vision_;
  TierCall<v1::AnalyzeQueriesRequest, v1::AnalyzeQueriesResponse> language_;

  Mutex mutex_;
  int pending_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // the first error
};

void AnalyzeCall::Begin() {
  v1::Question question;
  question.add_images()->Swap(request_.mutable_image());
  *question.mutable_image_options() = request_.options();
  question.set_request_id(request_.request_id());
  admitted_.Enter(std::move(question), [this](absl::StatusOr<v1::Question> entered) {
    for (const auto& [name, begin, end] : admitted_.waits()) span_.AddPart(name, begin, end - begin);
    if (const absl::Status status = OnEntered(std::move(entered)); !status.ok()) End(status);
  });
}

absl::Status AnalyzeCall::OnEntered(absl::StatusOr<v1::Question> question) {
  if (!question.ok()) return WithFieldOfAnalysis(question.status());
  DIPTYCH_RETURN_IF_ERROR(CheckAnalysisOptions(request_));
  v1::Image& image = *question->mutable_images(0);
  if (request_.qformer_attention()) {  // the image goes to both tiers
    DIPTYCH_RETURN_IF_ERROR(admitted_.Grow(static_cast<int64_t>(image.data().size())));
  }
  request_id_ = request_.request_id().empty() ? NewRequestId() : request_.request_id();
  AddTrailingMetadata(*context_, "request-id", request_id_);
  AskTiers(std::move(image));
  return absl::OkStatus();
}

void AnalyzeCall::AskTiers(v1::Image image) {
  const bool both = request_.qformer_attention();
  {
    MutexLock lock(mutex_);
    pending_ = both ? 2 : 1;
  }
  if (both) FillQueriesRequest(image);
  FillVisionRequest(std::move(image));
  AskVision();  // this call may be over now, unless `both`
  if (both) AskQueries();
}

void AnalyzeCall::FillVisionRequest(v1::Image image) {
  vision_.request.set_image(std::move(*image.mutable_data()));
  *vision_.request.mutable_options() = request_.options();
  vision_.request.set_cls_attention(request_.cls_attention());
  vision_.request.set_prepared_image(request_.prepared_image());
  vision_.request.set_request_id(request_id_);
  vision_.request.set_cache_salt(admitted_.cache_salt());
}

void AnalyzeCall::FillQueriesRequest(const v1::Image& image) {
  *language_.request.mutable_image() = image;
  *language_.request.mutable_options() = request_.options();
  language_.request.set_request_id(request_id_);
  language_.request.set_cache_salt(admitted_.cache_salt());
}

void AnalyzeCall::AskVision() {
  ReplicaChannels* const replicas = environment_.vision->channels().get();
  Ask(vision_, {.tier = "vision",
                .stage = Stage::kVit,
                .replicas = replicas,
                .affinity = replicas->known() > 1 ? AffinityOf(vision_.request, environment_.model()) : std::nullopt,
                .method = "diptych.v1.VisionService/AnalyzeVision"});
}

void AnalyzeCall::AskQueries() {
  ReplicaChannels* const replicas = environment_.language->channels().get();
  Ask(language_, {.tier = "language",
                  .stage = Stage::kQFormer,
                  .replicas = replicas,
                  .affinity = replicas->known() > 1 ? AffinityOf(language_.request) : std::nullopt,
                  .method = "diptych.v1.LanguageService/AnalyzeQueries"});
}

template <typename Call>
void AnalyzeCall::Ask(Call& call, TierName name) {
  name.budget = environment_.retries;
  name.key_name = std::string(admitted_.caller_name());
  name.span = &span_;
  call.Start(context_, call_->deadline(), name, [this](const absl::Status& status) { OnTierEnd(status); });
}

void AnalyzeCall::OnTierEnd(const absl::Status& status) {
  if (!status.ok()) {
    {
      MutexLock lock(mutex_);
      if (status_.ok()) status_ = status;
    }
    vision_.Cancel();
    language_.Cancel();
  }
  absl::Status error;
  {
    MutexLock lock(mutex_);
    if (--pending_ > 0) return;
    error = status_;
  }
  End(error.ok() ? Merge() : error);
}

absl::Status AnalyzeCall::Merge() {
  const auto model = environment_.model();
  if (model && !model->fingerprint().empty() && model->fingerprint() != vision_.response.model_fingerprint()) {
    return MakeError(absl::StatusCode::kFailedPrecondition, reason::kModelMismatch,
                     "the vision tier serves another model than the language tier");
  }
  DIPTYCH_ASSIGN_OR_RETURN(v1::AnalyzeImageResponse response,
                           MergeAnalysis(request_, std::move(vision_.response), std::move(language_.response)));
  admitted_.Charge(response.visual_tokens());
  response.set_request_id(request_id_);
  *response_ = SerializeMessage(response);
  return absl::OkStatus();
}

void AnalyzeCall::End(const absl::Status& status) {
  const SteadyDuration took = SteadyClock::now() - arrival_;
  environment_.metrics->answers.Ended(status, nullptr, took, RecordedTraceOf(span_));
  LogEnded({.method = "analyze",
            .request_id = request_id_,
            .status = status,
            .duration = took,
            .key = admitted_.caller_name(),
            .replica = language_.replica(),
            .trace_id = TraceIdOf(span_.context())});
  SetRequest(span_, request_id_, admitted_.caller_name());
  span_.End(status);
  environment_.metrics->repeats.Add(language_.repeats());
  admitted_.Release(static_cast<int64_t>(response_->Length()));
  Finish(ToGrpcStatus(ExplainDeadline(status, *call_, {environment_.request_timeout, kRequestTimeoutFlag})));
}

}  // namespace

grpc::ServerUnaryReactor* StartAnalyzeImage(const AnalyzeEnvironment& environment, absl::StatusOr<Caller> caller,
                                            grpc::CallbackServerContext* context, const grpc::ByteBuffer& request,
                                            grpc::ByteBuffer* response) {
  return new AnalyzeCall(environment, std::move(caller), context, request, response);
}

}  // namespace diptych::gateway
