#include "vision_service/encode_call.h"

#include <utility>

#include "common/grpc/grpc_status.h"
#include "common/grpc/metadata.h"
#include "common/logging/request_log.h"
#include "common/status.h"
#include "common/tracing/request_span.h"
#include "vision_service/encode_span.h"
#include "vision_service/image_request.h"
#include "vision_service/visual_token_messages.h"

namespace diptych::vision {
namespace {

absl::Status CheckRequest(const v1::EncodeImageRequest& request, const EncodeContext& shared) {
  if (request.cut() != v1::CUT_UNSPECIFIED && request.cut() != v1::CUT_VIT) {
    return InvalidField(reason::kOptionRange, "cut", "this server streams CUT_VIT only");
  }
  if (!request.model_fingerprint().empty() && request.model_fingerprint() != shared.model->fingerprint()) {
    return MakeError(absl::StatusCode::kFailedPrecondition, reason::kModelMismatch,
                     "the vision tier serves another model than the caller expects");
  }
  DIPTYCH_RETURN_IF_ERROR(CheckCacheSalt(request.cache_salt()));
  return CheckImageField(request.image(), shared.limits).status();
}

}  // namespace

EncodeCall::EncodeCall(const EncodeContext& shared, const grpc::CallbackServerContext& context,
                       const grpc::ByteBuffer& request)
    : shared_(shared),
      call_(MakeCallContext(context, shared.longest_call)),
      waiter_(new EncodeWaiter{.arrival = arrival_,
                               .deadline = call_->deadline(),
                               .done = [this](absl::StatusOr<EncodeResult> result) { Deliver(std::move(result)); }}),
      timer_(context, call_->deadline() + kLastWrites),
      span_(shared.tracer->BeginCall(context, "diptych.v1.VisionService/EncodeImage", arrival_)),
      request_id_(RequestIdOf(context)),
      key_name_(KeyNameOf(context)) {
  if (const absl::Status status = Begin(request); !status.ok()) End(status);
}

absl::Status EncodeCall::Begin(const grpc::ByteBuffer& bytes) {
  DIPTYCH_ASSIGN_OR_RETURN(place_, shared_.places->Enter(key_name_, waiter_));
  v1::EncodeImageRequest request;
  DIPTYCH_ASSIGN_OR_RETURN(ByteBudget::Lease memory, ReadImageRequest(bytes, shared_.encoder->memory(), request));
  if (!request.request_id().empty()) request_id_ = request.request_id();
  DIPTYCH_RETURN_IF_ERROR(CheckRequest(request, shared_));
  DIPTYCH_ASSIGN_OR_RETURN(
      const ImagePreparation preparation,
      PrepareImageOptions(request.options(), "options", shared_.model->patch_size(), shared_.model->image_size()));
  return shared_.encoder->Encode({.encoded = std::move(*request.mutable_image()),
                                  .preparation = preparation,
                                  .memory = std::move(memory),
                                  .cache_salt = std::move(*request.mutable_cache_salt()),
                                  .caller = key_name_,
                                  .dtype = request.dtype()},
                                 waiter_);
}

void EncodeCall::Deliver(absl::StatusOr<EncodeResult> result) {
  if (!result.ok()) return End(result.status());
  image_ = *std::move(result);
  place_.Release();  // the work is done; what is still to be sent is accounted for as memory
  WriteNext();
}

void EncodeCall::WriteNext() {
  if (const absl::Status status = call_->Check(Stage::kTokenTransfer); !status.ok()) return End(status);
  message_ = MessageAt(image_, shared_.model->fingerprint(), next_message_++);
  if (next_message_ < MessageCount(image_)) return StartWrite(&message_);
  ReleaseAndCount(absl::OkStatus());
  image_ = {};
  StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
}

void EncodeCall::OnWriteDone(bool ok) {
  if (!ok) return End(CallerLeft());
  WriteNext();
}

void EncodeCall::OnCancel() {
  call_->Cancel();
  if (shared_.encoder->StopWaiting(waiter_)) End(CallerLeft());
}

void EncodeCall::End(const absl::Status& status) {
  ReleaseAndCount(status);
  Finish(ToGrpcStatus(status));
}

void EncodeCall::ReleaseAndCount(const absl::Status& status) {
  place_.Release();
  const SteadyDuration took = SteadyClock::now() - arrival_;
  shared_.metrics->Ended(status, status.ok() ? &image_.timings : nullptr, took, RecordedTraceOf(span_));
  LogEnded({.method = "encode",
            .request_id = request_id_,
            .status = status,
            .duration = took,
            .key = key_name_,
            .trace_id = TraceIdOf(span_.context())});
  SetRequest(span_, request_id_, key_name_);
  if (status.ok()) {
    AddStages(span_, image_.timings, arrival_);
    span_.SetCount("diptych.cache_hits.vision_tokens", image_.cache_hit ? 1 : 0);
  }
  span_.End(status);
}

}  // namespace diptych::vision
