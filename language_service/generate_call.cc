#include "language_service/generate_call.h"

#include <array>
#include <utility>

#include "common/grpc_status.h"
#include "common/status.h"
#include "common/wire.h"

namespace diptych {

GenerateCall::GenerateCall(const GenerateContext& shared, const grpc::CallbackServerContext& context,
                           const grpc::ByteBuffer& request)
    : shared_(shared), watch_(WatchCall(context, shared.longest_call)) {
  if (const absl::Status status = Begin(request); !status.ok()) End(status);
}

absl::Status GenerateCall::Begin(const grpc::ByteBuffer& bytes) {
  StageClock clock(SteadyClock::now());
  DIPTYCH_ASSIGN_OR_RETURN(ticket_, shared_.gate->Enter());
  v1::GenerateRequest request;
  DIPTYCH_RETURN_IF_ERROR(ParseMessage(bytes, request));
  DIPTYCH_ASSIGN_OR_RETURN(GenerateInput input,
                           ReadQuestion(std::move(*request.mutable_question()), *shared_.model, shared_.limits));
  head_ = {.request_id = std::move(input.request_id),
           .model = shared_.model->description.name(),
           .prompt = input.prompt,
           .dense_patch_tokens = input.dense_patch_tokens,
           .logprobs = input.options.logprobs > 0,
           .tokenizer = shared_.model->tokenizer.get()};
  stream_ = std::make_shared<TokenStream>(
      TokenStream::Reader{.on_delta = [this](TokenDelta delta) { Write(DeltaMessage(head_, delta)); },
                          .on_end = [this](absl::StatusOr<GenerateResult> result) { OnEnd(std::move(result)); }});
  Write(StartedMessage(head_));
  clock.Lap(Stage::kTokenize, SteadyClock::now());
  work_.reset(new GenerateWork{.prompt = std::move(input.prompt),
                               .options = std::move(input.options),
                               .images = {},
                               .clock = clock,
                               .watch = watch_,
                               .stream = stream_});
  if (input.images.empty()) {
    shared_.engine->Submit(std::move(*work_));
  } else {
    PullImages(std::move(input.images));
  }
  return absl::OkStatus();
}

void GenerateCall::PullImages(std::vector<ImageRequest> images) {
  for (const ImageRequest& image : images) image_keys_.push_back(image.expected.image_key);
  pulls_ = ImagePulls::Start(shared_.vision, std::move(images), watch_,
                             [this](absl::StatusOr<PulledImages> pulled) { OnImages(std::move(pulled)); });
}

void GenerateCall::OnImages(absl::StatusOr<PulledImages> pulled) {
  if (!pulled.ok()) return Fail(pulled.status());
  const VisionTimings& last = pulled->last;
  work_->clock.LapSplit(
      std::array{std::pair{Stage::kImageDecode, last.image_decode}, std::pair{Stage::kImageResize, last.image_resize},
                 std::pair{Stage::kVisionQueue, last.queue}, std::pair{Stage::kVit, last.vit}},
      Stage::kTokenTransfer, SteadyClock::now());
  visual_tokens_ = std::move(pulled->images);
  ProjectNext();
}

void GenerateCall::ProjectNext() {
  const size_t index = work_->images.size();
  if (index == visual_tokens_.size()) {
    work_->clock.Lap(Stage::kQFormer, SteadyClock::now());
    return shared_.engine->Submit(std::move(*work_));
  }
  if (const absl::Status status = watch_->Check("qformer"); !status.ok()) return Fail(status);
  shared_.engine->Project(std::move(visual_tokens_[index]), image_keys_[index],
                          [this](absl::StatusOr<std::shared_ptr<const ProjectedImage>> image) {
                            if (!image.ok()) return Fail(image.status());
                            work_->images.push_back(*std::move(image));
                            ProjectNext();
                          });
}

void GenerateCall::Fail(const absl::Status& status) {
  const std::shared_ptr<TokenStream> stream = stream_;  // this call may be gone when End returns
  stream->End(status);
}

void GenerateCall::OnCancel() {
  watch_->Cancel();
  if (pulls_ != nullptr) pulls_->Cancel();
}

void GenerateCall::Write(const v1::GenerateResponse& message) {
  message_ = SerializeMessage(message);
  StartWrite(&message_);
}

void GenerateCall::OnWriteDone(bool ok) {
  if (!ok) {
    watch_->Cancel();
    stream_->Abandon();
  }
  stream_->Next();
}

void GenerateCall::OnEnd(absl::StatusOr<GenerateResult> result) {
  if (!result.ok()) return End(result.status());
  message_ = SerializeMessage(FinishedMessage(head_, *result));
  ticket_.Leave();
  StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
}

void GenerateCall::End(const absl::Status& status) {
  ticket_.Leave();
  Finish(ToGrpcStatus(status));
}

}  // namespace diptych
