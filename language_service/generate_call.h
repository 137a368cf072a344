// One Generate call.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/containers/byte_budget.h"
#include "common/grpc/call_context.h"
#include "common/grpc/call_gate.h"
#include "common/grpc/call_timer.h"
#include "common/metrics/token_gaps.h"
#include "common/tracing/span.h"
#include "common/tracing/tracer.h"
#include "language_service/answer_messages.h"
#include "language_service/engine/engine.h"
#include "language_service/images/image_collector.h"
#include "language_service/images/image_store.h"
#include "language_service/language_metrics.h"
#include "language_service/question_reader.h"
#include "language_service/served_model.h"

namespace diptych::language {

// The parts of the server that all calls share. Not owned; outlives them.
struct GenerateContext {
  const ServedLanguageModel* model;
  QuestionLimits limits;
  SteadyDuration longest_call;
  v1::NumberType wire_dtype;  // asked of the vision tier
  CallGate* gate;
  ByteBudget* memory;
  ImageStore* images;
  LanguageEngine* engine;
  LanguageMetrics* metrics;
  const Tracer* tracer;
};

// Reads the question, collects its images, hands the whole to the engine and streams what comes out. Deletes itself
// when gRPC is done with it.
class GenerateCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // `context` outlives the call, as gRPC promises.
  GenerateCall(const GenerateContext& shared, const grpc::CallbackServerContext& context,
               const grpc::ByteBuffer& request);

  void OnCancel() override;
  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

 private:
  absl::Status Begin(const grpc::ByteBuffer& request);
  // The question, checked, once there is memory for it and for its answer.
  absl::StatusOr<GenerateInput> Read(const grpc::ByteBuffer& request);
  // Calls the functions below.
  std::shared_ptr<TokenStream> MakeStream();
  // Hands the work to the engine.
  void Submit();
  void OnImages(absl::StatusOr<CollectedImages> collected);
  void Write(const v1::GenerateResponse& message);
  void OnDelta(const TokenDelta& delta);
  void OnEnd(absl::StatusOr<GenerateResult> result);
  void End(const absl::Status& status);
  void EndSpan(const absl::Status& status, const v1::Answer* answer);
  // Makes room and counts the call before its caller can come back. `answer` if it has one, else null.
  void ReleaseAndCount(const absl::Status& status, const v1::Answer* answer);

  const GenerateContext& shared_;
  const grpc::CallbackServerContext& context_;
  const SteadyTime arrival_ = SteadyClock::now();
  TokenArrivals arrivals_;
  std::optional<SteadyDuration> first_delta_;  // with a token, from the arrival
  int64_t generated_ = 0;                      // tokens that were shown
  const std::shared_ptr<CallContext> call_;
  const CallTimer timer_;
  Span span_;
  std::string request_id_;
  const std::string key_name_;
  std::string vision_replica_;  // that was waited for last
  CallGate::Ticket ticket_;
  ByteBudget::Lease memory_;
  AnswerHead head_;
  std::shared_ptr<TokenStream> stream_;
  std::unique_ptr<GenerateWork> work_;      // until the engine takes it
  int best_of_ = 1;                         // answers that are drawn
  std::shared_ptr<ImageCollector> images_;  // set before gRPC knows the call, so before OnCancel
  grpc::ByteBuffer message_;                // being written
};

}  // namespace diptych::language
