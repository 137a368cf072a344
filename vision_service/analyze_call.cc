#include "vision_service/analyze_call.h"

#include <span>
#include <string>
#include <utility>

#include "blip2/images/orientation.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/metadata.h"
#include "common/grpc/wire.h"
#include "common/logging/request_log.h"
#include "common/status.h"
#include "common/tracing/request_span.h"
#include "vision_service/encode_span.h"
#include "vision_service/image_request.h"

namespace diptych::vision {
namespace {

// `shares` [P]: the class token's first, then those of side × side patches.
v1::AttentionMap ToAttentionMap(std::span<const float> shares, int side) {
  v1::AttentionMap map;
  map.set_class_token(shares[0]);
  map.mutable_patches()->set_rows(side);
  map.mutable_patches()->set_columns(side);
  map.mutable_patches()->mutable_values()->Add(shares.begin() + 1, shares.end());
  return map;
}

// The sides of the image once it is turned as its file says.
v1::ImageSize ShownSize(std::string_view encoded, const ImageHeader& header) {
  const bool on_its_side = blip2::SwapsSides(blip2::OrientationOf(encoded, header.format));
  v1::ImageSize size;
  size.set_height(static_cast<int>(on_its_side ? header.width : header.height));
  size.set_width(static_cast<int>(on_its_side ? header.height : header.width));
  return size;
}

}  // namespace

AnalyzeVisionCall::AnalyzeVisionCall(const EncodeContext& shared, const grpc::CallbackServerContext& context,
                                     const grpc::ByteBuffer& request, grpc::ByteBuffer* response)
    : shared_(shared),
      response_(response),
      call_(MakeCallContext(context, shared.longest_call)),
      waiter_(new EncodeWaiter{.arrival = arrival_,
                               .deadline = call_->deadline(),
                               .done = [this](absl::StatusOr<EncodeResult> result) { Deliver(std::move(result)); }}),
      timer_(context, call_->deadline() + kLastWrites),
      span_(shared.tracer->BeginCall(context, "diptych.v1.VisionService/AnalyzeVision", arrival_)),
      request_id_(RequestIdOf(context)),
      key_name_(KeyNameOf(context)) {
  if (const absl::Status status = Begin(request); !status.ok()) End(status, nullptr);
}

absl::Status AnalyzeVisionCall::Begin(const grpc::ByteBuffer& bytes) {
  DIPTYCH_ASSIGN_OR_RETURN(place_, shared_.places->Enter(key_name_, waiter_));
  v1::AnalyzeVisionRequest request;
  DIPTYCH_ASSIGN_OR_RETURN(ByteBudget::Lease memory, ReadImageRequest(bytes, shared_.encoder->memory(), request));
  if (!request.request_id().empty()) request_id_ = request.request_id();
  DIPTYCH_RETURN_IF_ERROR(CheckCacheSalt(request.cache_salt()));
  DIPTYCH_ASSIGN_OR_RETURN(const ImageHeader header, CheckImageField(request.image(), shared_.limits));
  DIPTYCH_ASSIGN_OR_RETURN(
      const ImagePreparation preparation,
      PrepareImageOptions(request.options(), "options", shared_.model->patch_size(), shared_.model->image_size()));
  if (request.cls_attention() && preparation.merging > 0) {
    return InvalidField(reason::kOptionRange, "options.token_merging",
                        "token_merging takes 0 with cls_attention: a merged token has no one place");
  }
  extras_ = {.class_attention = request.cls_attention(), .prepared_image = request.prepared_image()};
  image_size_ = ShownSize(request.image(), header);
  return shared_.encoder->Encode({.encoded = std::move(*request.mutable_image()),
                                  .preparation = preparation,
                                  .memory = std::move(memory),
                                  .cache_salt = std::move(*request.mutable_cache_salt()),
                                  .caller = key_name_,
                                  .extras = extras_},
                                 waiter_);
}

v1::AnalyzeVisionResponse AnalyzeVisionCall::Describe(const EncodeResult& result) const {
  const VisualTokens& image = *result.image;
  v1::AnalyzeVisionResponse response;
  response.set_model_fingerprint(shared_.model->fingerprint());
  *response.mutable_image_size() = image_size_;
  response.set_pixel_height(image.image_size());
  response.set_pixel_width(image.image_size());
  response.set_patch_size(shared_.model->patch_size());
  response.set_tokens(image.tokens());
  response.set_width(image.width());
  response.set_mean_norm(image.MeanNorm());
  if (extras_.class_attention) {
    *response.mutable_cls_attention() =
        ToAttentionMap(image.class_attention(), image.image_size() / shared_.model->patch_size());
  }
  if (extras_.prepared_image) response.set_prepared_image(*result.prepared_png);
  return response;
}

void AnalyzeVisionCall::Deliver(absl::StatusOr<EncodeResult> result) {
  if (!result.ok()) return End(result.status(), nullptr);
  if (const absl::Status status = call_->Check(Stage::kTokenTransfer); !status.ok()) return End(status, nullptr);
  *response_ = SerializeMessage(Describe(*result));
  memory_ = std::move(result->memory);
  End(absl::OkStatus(), &result->timings);
}

void AnalyzeVisionCall::OnCancel() {
  call_->Cancel();
  if (shared_.encoder->StopWaiting(waiter_)) End(CallerLeft(), nullptr);
}

void AnalyzeVisionCall::End(const absl::Status& status, const EncodeTimings* timings) {
  place_.Release();
  const SteadyDuration took = SteadyClock::now() - arrival_;
  shared_.metrics->Ended(status, timings, took, RecordedTraceOf(span_));
  LogEnded({.method = "analyze_vision",
            .request_id = request_id_,
            .status = status,
            .duration = took,
            .key = key_name_,
            .trace_id = TraceIdOf(span_.context())});
  SetRequest(span_, request_id_, key_name_);
  if (timings != nullptr) AddStages(span_, *timings, arrival_);
  span_.End(status);
  Finish(ToGrpcStatus(status));
}

}  // namespace diptych::vision
