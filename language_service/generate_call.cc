#include "language_service/generate_call.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/grpc/grpc_status.h"
#include "common/grpc/metadata.h"
#include "common/grpc/wire.h"
#include "common/logging/request_log.h"
#include "common/status.h"
#include "common/tracing/request_span.h"
#include "language_service/engine/best_of.h"
#include "language_service/request_memory.h"

namespace diptych::language {
namespace {

// Memory held until the answer is sent, besides the images' bytes and visual tokens.
int64_t BytesForAnswer(const GenerateInput& input, const blip2::Config& config) {
  int64_t bytes = BytesForQueryTokens(static_cast<int64_t>(input.images.size()), config);
  if (const auto top = input.options.prompt_logprobs) {
    bytes += BytesForPromptScores(static_cast<int64_t>(input.prompt.ids.size()), *top);
  }
  if (!input.relevance) return bytes;
  for (const ImageRequest& image : input.images) bytes += BytesForQueryAttention(image.expected, config);
  const int64_t generated = input.options.max_new_tokens;
  return bytes + BytesForRelevance(static_cast<int64_t>(input.prompt.ids.size()) + generated,
                                   generated * input.dense_patch_tokens, config);
}

AnswerHead HeadOf(const GenerateInput& input, const ServedLanguageModel& model) {
  return {.request_id = input.request_id,
          .model = model.description.name(),
          .prompt = input.prompt,
          .dense_patch_tokens = input.dense_patch_tokens,
          .begun = static_cast<int64_t>(input.begun.size()),
          .logprobs = input.options.logprobs > 0,
          .tokenizer = model.tokenizer.get()};
}

}  // namespace

GenerateCall::GenerateCall(const GenerateContext& shared, const grpc::CallbackServerContext& context,
                           const grpc::ByteBuffer& request)
    : shared_(shared),
      context_(context),
      call_(MakeCallContext(context, shared.longest_call)),
      timer_(context, call_->deadline() + kLastWrites),
      span_(shared.tracer->BeginCall(context, "diptych.v1.LanguageService/Generate", arrival_)),
      request_id_(RequestIdOf(context)),
      key_name_(KeyNameOf(context)) {
  if (const absl::Status status = Begin(request); !status.ok()) End(status);
}

absl::StatusOr<GenerateInput> GenerateCall::Read(const grpc::ByteBuffer& bytes) {
  DIPTYCH_ASSIGN_OR_RETURN(memory_, shared_.memory->Take(BytesForMessage(static_cast<int64_t>(bytes.Length()))));
  v1::GenerateRequest request;
  DIPTYCH_RETURN_IF_ERROR(TakeRequest(bytes, request));
  const int turns_dropped = std::clamp(request.turns_dropped(), 0, kMaxTurns);
  DIPTYCH_ASSIGN_OR_RETURN(GenerateInput input, ReadQuestion(std::move(request), *shared_.model, shared_.limits));
  input.prompt.budget.turns_dropped += turns_dropped;
  // An image's bytes go with its flight, which may outlive this call.
  for (ImageRequest& image : input.images) {
    image.memory = memory_.Split(BytesForImage(image));
    image.key_name = key_name_;
    image.trace = span_.context();
    image.message.set_dtype(shared_.wire_dtype);
  }
  DIPTYCH_RETURN_IF_ERROR(memory_.Grow(BytesForAnswer(input, shared_.model->config)));
  return input;
}

absl::Status GenerateCall::Begin(const grpc::ByteBuffer& bytes) {
  StageClock clock(arrival_);
  DIPTYCH_ASSIGN_OR_RETURN(ticket_, shared_.gate->Enter());
  DIPTYCH_ASSIGN_OR_RETURN(GenerateInput input, Read(bytes));
  head_ = HeadOf(input, *shared_.model);
  request_id_ = head_.request_id;
  stream_ = MakeStream();
  Write(StartedMessage(head_));
  // Parsing the message and digesting its images counts as the gateway's relay.
  clock.LapSplit(std::array{std::pair{Stage::kTokenize, input.tokenizing}}, Stage::kGateway, SteadyClock::now());
  best_of_ = input.best_of;
  work_.reset(new GenerateWork{.prompt = std::move(input.prompt),
                               .options = std::move(input.options),
                               .images = {},
                               .relevance = input.relevance,
                               .begun = std::move(input.begun),
                               .cache_salt = std::move(input.cache_salt),
                               .clock = clock,
                               .call = call_,
                               .stream = stream_});
  if (input.images.empty()) {
    Submit();
    return absl::OkStatus();
  }
  images_ = ImageCollector::Start(shared_.images, std::move(input.images), call_,
                                  [this](absl::StatusOr<CollectedImages> images) { OnImages(std::move(images)); });
  return absl::OkStatus();
}

std::shared_ptr<TokenStream> GenerateCall::MakeStream() {
  return std::make_shared<TokenStream>(
      TokenStream::Reader{.on_delta = [this](const TokenDelta& delta) { OnDelta(delta); },
                          .on_end = [this](absl::StatusOr<GenerateResult> result) { OnEnd(std::move(result)); },
                          // Ends the write that waits for the caller.
                          .on_stuck = [this] { context_.TryCancel(); }});
}

void GenerateCall::OnImages(absl::StatusOr<CollectedImages> collected) {
  if (!collected.ok()) {
    const std::shared_ptr<TokenStream> stream = stream_;  // this call may be gone when End returns
    return stream->End(collected.status());
  }
  if (const auto& last = collected->last) {
    vision_replica_ = last->vision.replica;
    work_->clock.LapSplit(
        std::array{std::pair{Stage::kImageDecode, last->vision.image_decode},
                   std::pair{Stage::kImageResize, last->vision.image_resize},
                   std::pair{Stage::kVisionQueue, last->vision.queue}, std::pair{Stage::kVit, last->vision.vit}},
        Stage::kTokenTransfer, last->tokens_at);
    work_->clock.Lap(Stage::kQFormer, SteadyClock::now());
  }
  head_.vision_hits = collected->vision_hits;
  head_.projected_hits = collected->projected_hits;
  work_->images = std::move(collected->images);
  Submit();
}

void GenerateCall::Submit() {
  LanguageEngine* const engine = shared_.engine;  // this call may be gone when the last Submit returns
  if (best_of_ == 1) return engine->Submit(std::move(*work_));
  const auto give_up = [call = call_] { call->Cancel(); };
  for (GenerateWork& work : DrawSeveral(std::move(*work_), best_of_, give_up)) engine->Submit(std::move(work));
}

void GenerateCall::OnCancel() {
  call_->Cancel();
  if (images_ != nullptr) images_->Cancel();
}

void GenerateCall::Write(const v1::GenerateResponse& message) {
  message_ = SerializeMessage(message);
  StartWrite(&message_);
}

void GenerateCall::OnWriteDone(bool ok) {
  if (!ok) {
    call_->Cancel();
    stream_->Abandon();
  }
  stream_->Next();
}

void GenerateCall::OnDelta(const TokenDelta& delta) {
  const SteadyTime now = SteadyClock::now();
  if (!delta.tokens.empty() && !first_delta_) first_delta_ = now - arrival_;
  generated_ += static_cast<int64_t>(delta.tokens.size());
  shared_.metrics->TokensArrived(arrivals_.Arrived(static_cast<int>(delta.tokens.size()), now));
  Write(DeltaMessage(head_, delta));
}

void GenerateCall::OnEnd(absl::StatusOr<GenerateResult> result) {
  if (!result.ok()) return End(result.status());
  const v1::GenerateResponse message = FinishedMessage(head_, *result);
  message_ = SerializeMessage(message);
  ReleaseAndCount(absl::OkStatus(), &message.finished());
  StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
}

void GenerateCall::End(const absl::Status& status) {
  ReleaseAndCount(status, nullptr);
  Finish(ToGrpcStatus(status));
}

void GenerateCall::ReleaseAndCount(const absl::Status& status, const v1::Answer* answer) {
  ticket_.Release();
  memory_.Release();
  const SteadyDuration took = SteadyClock::now() - arrival_;
  shared_.metrics->Ended(status, answer, took, RecordedTraceOf(span_));
  EndSpan(status, answer);
  LogEnded({.method = "generate",
            .request_id = request_id_,
            .status = status,
            .duration = took,
            .key = key_name_,
            .prompt_tokens = static_cast<int64_t>(head_.prompt.ids.size()),
            .generated_tokens = generated_,
            .first_token = first_delta_,
            .replica = vision_replica_,
            .trace_id = TraceIdOf(span_.context())});
}

void GenerateCall::EndSpan(const absl::Status& status, const v1::Answer* answer) {
  SetRequest(span_, request_id_, key_name_);
  SetTokens(span_, static_cast<int64_t>(head_.prompt.ids.size()), generated_);
  if (first_delta_) span_.AddEvent(kFirstToken, arrival_ + *first_delta_);
  if (answer != nullptr) {
    SetAnswer(span_, *answer);
    AddStages(span_, answer->timings(), arrival_);
  }
  span_.End(status);
}

}  // namespace diptych::language
