// The vision engine: one thread that alone runs the vision transformer, on batches of what waits.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/device/transfer.h"
#include "common/mutex.h"
#include "common/tiers/engine_health.h"
#include "vision_service/batcher.h"
#include "vision_service/encode_job.h"
#include "vision_service/served_model.h"
#include "vision_service/stats.h"

namespace diptych::vision {

// Thread-safe.
class VisionEngine {
 public:
  // Receives each job's outcome, on the engine thread. Must not wait.
  using Done = std::function<void(std::shared_ptr<EncodeJob>, absl::StatusOr<std::shared_ptr<const VisualTokens>>)>;

  // Runs model.encode, and model.analyze where an image needs its class token's attention. A pass that takes longer
  // than `longest_pass` counts as a failed engine.
  VisionEngine(const ServedVisionModel& model, const Batcher::Options& options, SteadyDuration longest_pass, Done done);
  // Runs what waits to its end, then joins the thread.
  ~VisionEngine();

  // A job of this shape is being decoded: the engine may wait a little for it. Submit or Unexpect follows.
  void Expect(BatchShape shape);
  void Unexpect(BatchShape shape);

  // Takes a job whose pixel_values are set; drops it if it is no longer wanted. Never waits.
  void Submit(std::shared_ptr<EncodeJob> job);
  // Drops the job if it waits here. A pass that has begun goes on.
  void Remove(const EncodeJob& job);
  // The job's deadline has moved.
  void UpdateDeadline(const EncodeJob& job);

  // As EngineHealth::Check.
  absl::Status health() const { return health_.Check(); }

  // Fills in what is the engine's.
  void AddTo(VisionStats& stats) const;

 private:
  using Jobs = std::vector<std::shared_ptr<EncodeJob>>;

  void Run();
  // Waits for something to do, if it may. False once the engine is closed and nothing waits.
  bool Next(Jobs& batch, Jobs& expired, bool may_wait);
  std::shared_ptr<EncodeJob> Take(uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The results of a pass.
  struct Seen {
    blip2::RowDownload tokens;   // of [B, P, Dv]
    at::Tensor class_attention;  // [B, P] on the CPU, if somebody wants it
  };
  struct Pass {
    Jobs jobs;
    SteadyTime begin;
    absl::StatusOr<Seen> seen;
  };
  // Gives the model a batch. A card may still compute when this returns.
  Pass Launch(Jobs batch);
  absl::StatusOr<Seen> Encode(const Jobs& batch);
  // [B, 3, S, S], where the model takes them.
  at::Tensor PixelsOf(const Jobs& batch) const;
  at::Tensor PixelsOf(EncodeJob& job) const;
  // Sends the pixels of the next pass to the card, and gives up what was sent for a pass that is not the next any more.
  // What fails is tried again in the pass, which tells of it.
  void SendUpcoming();
  // Returns when it has been computed, what is left to be done alone included. Its jobs then know how long that took.
  void Await(Pass& pass);
  // Updates the engine's health after a pass, and with it what it was for.
  void Judge(const absl::Status& pass);
  void Deliver(Pass pass);
  absl::StatusOr<std::shared_ptr<const VisualTokens>> Collect(const Pass& pass, size_t index);
  void Count(const Jobs& batch, SteadyDuration duration, bool succeeded);

  const ServedVisionModel::Encode encode_;
  const ServedVisionModel::Analyze analyze_;
  const decltype(ServedVisionModel::upload) upload_;
  const Done done_;
  const int image_size_;  // of the model, pixels
  // A pass runs while the host goes on: its tokens are delivered while the next one is computed.
  const bool on_card_;
  EngineHealth health_;

  mutable Mutex mutex_;
  CondVar changed_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  Batcher batcher_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, std::shared_ptr<EncodeJob>> waiting_ ABSL_GUARDED_BY(mutex_);

  std::atomic<int> running_ = 0;
  std::atomic<SteadyTime> pass_begin_ = SteadyTime{};  // the epoch: none runs
  std::atomic<int64_t> passes_ = 0, encoded_ = 0, failed_ = 0, visual_tokens_ = 0, busy_ns_ = 0;
  std::array<std::atomic<int64_t>, kBatchSizeBounds.size() + 1> passes_by_batch_size_{};

  std::thread thread_;
};

}  // namespace diptych::vision
