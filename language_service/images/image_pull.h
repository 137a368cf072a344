// Pulls the visual tokens of one image from the vision tier.
#pragma once

#include <grpcpp/alarm.h>

#include <functional>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "common/containers/byte_budget.h"
#include "common/grpc/call_context.h"
#include "common/grpc/channel.h"
#include "common/mutex.h"
#include "common/replicas/loss_patience.h"
#include "common/replicas/replica_channels.h"
#include "common/tracing/trace_context.h"
#include "common/tracing/tracer.h"
#include "diptych/v1/vision.grpc.pb.h"
#include "language_service/images/pull_metrics.h"
#include "language_service/images/visual_tokens_receiver.h"

namespace diptych::language {

// An image to encode, and what must come back.
struct ImageRequest {
  v1::EncodeImageRequest message;
  ExpectedTokens expected;
  std::string field = "image";    // what its sender calls the image in errors
  bool query_attention = false;   // where the queries look is wanted, too
  ByteBudget::Lease memory = {};  // for the image's bytes
  // Of the first that asked for it, for the vision tier's log and trace.
  std::string key_name = {};
  TraceContext trace = {};
};

// Memory for its image: the message, and the bytes as they travel.
int64_t BytesForImage(const ImageRequest& image);

// The way to the vision tier.
struct VisionTier {
  ReplicaStubs<v1::VisionService>* replicas;
  ChannelWaker* waker;
  const Tracer* tracer;
  bool wait = false;  // until the request's deadline where no replica answers, as while the first one starts
};

// Keeps the image until its tokens have arrived, so that a replica which dies costs a retry and not the request.
// Thread-safe; owned by shared_ptr.
class ImagePull final : public std::enable_shared_from_this<ImagePull> {
 public:
  using Done = std::function<void(absl::StatusOr<VisualTokens>)>;

  // `tier` and `metrics` must outlive the pull. `done` is called exactly once, on a gRPC thread, after Start.
  ImagePull(const VisionTier* tier, std::shared_ptr<const ImageRequest> request,
            std::shared_ptr<const CallContext> call, PullMetrics* metrics, Done done)
      : tier_(tier), request_(std::move(request)), call_(std::move(call)), metrics_(metrics), done_(std::move(done)) {}

  void Start();
  // Ends the pull with CANCELLED if it still runs.
  void Cancel();

 private:
  class Attempt;

  void StartAttempt();
  // `status` is what the call ended with, `tokens` what was received if that is OK.
  void OnAttemptEnd(const grpc::Status& status, absl::StatusOr<VisualTokens> tokens);
  // False if the pull is cancelled, or its patience is at an end and it does not `wait` until its deadline.
  bool RetryLater(bool wait);
  std::optional<SteadyDuration> PauseBeforeRepeat(bool wait) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const VisionTier* const tier_;
  const std::shared_ptr<const ImageRequest> request_;
  const std::shared_ptr<const CallContext> call_;
  PullMetrics* const metrics_;
  const Done done_;

  Mutex mutex_;
  int attempts_ ABSL_GUARDED_BY(mutex_) = 0;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  Attempt* attempt_ ABSL_GUARDED_BY(mutex_) = nullptr;  // the call that runs; owns itself
  LossPatience patience_ ABSL_GUARDED_BY(mutex_);
  grpc::Alarm pause_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::language
