#include "vision_service/engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "blip2/device_error.h"
#include "blip2/transfer.h"
#include "common/catch_exceptions.h"
#include "common/status.h"

namespace diptych::vision {
namespace {

// All pixels of a batch, [B, 3, S, S].
at::Tensor Stack(const std::vector<std::shared_ptr<EncodeJob>>& batch) {
  if (batch.size() == 1) return batch[0]->pixel_values;
  std::vector<at::Tensor> pixels;
  for (const auto& job : batch) pixels.push_back(job->pixel_values);
  return at::cat(pixels);
}

// Rows that share a storage would keep all of it alive as long as one of them is.
at::Tensor InOwnStorage(at::Tensor row) {
  return row.storage().nbytes() == row.nbytes() && row.is_contiguous() ? row : row.clone(at::MemoryFormat::Contiguous);
}

std::vector<float> ToVector(const at::Tensor& row) {
  const at::Tensor numbers = row.contiguous();
  return {numbers.const_data_ptr<float>(), numbers.const_data_ptr<float>() + numbers.numel()};
}

size_t BucketOf(size_t batch_size) {
  const auto& bounds = VisionStats::kBatchSizeBounds;
  return std::lower_bound(bounds.begin(), bounds.end(), static_cast<int>(batch_size)) - bounds.begin();
}

}  // namespace

VisionEngine::VisionEngine(const ServedVisionModel& model, const Batcher::Options& options, SteadyDuration longest_pass,
                           Done done)
    : encode_(model.encode),
      analyze_(model.analyze),
      done_(std::move(done)),
      image_size_(model.description.image_size()),
      health_(longest_pass),
      batcher_(options),
      thread_([this] { Run(); }) {}

VisionEngine::~VisionEngine() {
  {
    MutexLock lock(mutex_);
    closed_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
}

void VisionEngine::Expect(BatchShape shape) {
  MutexLock lock(mutex_);
  batcher_.Expect(shape);
}

void VisionEngine::Unexpect(BatchShape shape) {
  {
    MutexLock lock(mutex_);
    batcher_.Unexpect(shape);
  }
  changed_.NotifyAll();
}

void VisionEngine::Submit(std::shared_ptr<EncodeJob> job) {
  {
    MutexLock lock(mutex_);
    // Checked under the lock of Remove: a caller that leaves either is seen here or finds the job waiting.
    if (job->wanted) {
      batcher_.Add(job->id, job->shape(), job->caller, job->deadline, SteadyClock::now());
      waiting_.emplace(job->id, std::move(job));
    } else {
      batcher_.Unexpect(job->shape());
    }
  }
  changed_.NotifyAll();
}

void VisionEngine::Remove(const EncodeJob& job) {
  std::shared_ptr<EncodeJob> removed;  // goes when the lock is free again
  MutexLock lock(mutex_);
  if (!batcher_.Remove(job.id)) return;
  removed = Take(job.id);
}

void VisionEngine::UpdateDeadline(const EncodeJob& job) {
  MutexLock lock(mutex_);
  batcher_.SetDeadline(job.id, job.deadline);
}

void VisionEngine::Run() {
  at::init_num_threads();
  const c10::InferenceMode inference_mode;
  Jobs batch, expired;
  while (Next(batch, expired)) {
    CatchInThread(NameOf(Stage::kVit), [&] {
      for (auto& job : expired) done_(std::move(job), DeadlinePassed(Stage::kVisionQueue));
      if (!batch.empty()) RunBatch(batch);
    });
    batch.clear();
    expired.clear();
  }
}

bool VisionEngine::Next(Jobs& batch, Jobs& expired) {
  MutexLock lock(mutex_);
  while (true) {
    const Batcher::Plan plan = batcher_.Next(SteadyClock::now(), /*may_delay=*/!closed_);
    for (const uint64_t id : plan.run) batch.push_back(Take(id));
    for (const auto& [id, deadline] : plan.expired) {
      expired.push_back(Take(id));
      expired.back()->judged_deadline = deadline;
    }
    running_ = static_cast<int>(batch.size());
    if (!batch.empty() || !expired.empty()) return true;
    if (closed_ && batcher_.size() == 0) return false;
    if (plan.ask_again) {
      changed_.WaitUntil(lock, *plan.ask_again);
    } else {
      changed_.Wait(lock);
    }
  }
}

std::shared_ptr<EncodeJob> VisionEngine::Take(uint64_t id) {
  return std::move(waiting_.extract(id).mapped());
}

void VisionEngine::RunBatch(const Jobs& batch) {
  const SteadyTime begin = SteadyClock::now();
  pass_begin_ = begin;
  health_.Begin();
  auto rows = Encode(batch);
  if (health_.End(rows.status())) health_.Tried(TryItself());
  const SteadyTime end = SteadyClock::now();
  pass_begin_ = SteadyTime{};
  Count(batch, end - begin, rows.ok());
  if (!rows.ok() && !IsDeviceLost(rows.status()) && batch.size() > 1) {
    // One image must not fail the others: each gets a pass of its own.
    for (const auto& job : batch) RunBatch({job});
    return;
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    batch[i]->timeline.vit_begin = begin;
    batch[i]->timeline.vit_end = end;
    Deliver(batch[i], rows.ok() ? absl::StatusOr<Row>(std::move((*rows)[i])) : rows.status());
  }
}

bool VisionEngine::TryItself() {
  return CatchExceptions(NameOf(Stage::kVit),
                         [&] {
                           blip2::Download(encode_(at::zeros({1, 3, image_size_, image_size_}), /*merging=*/0));
                           return absl::OkStatus();
                         })
      .ok();
}

void VisionEngine::Deliver(const std::shared_ptr<EncodeJob>& job, absl::StatusOr<Row> row) {
  absl::StatusOr<std::shared_ptr<const VisualTokens>> image;
  const absl::Status status = CatchExceptions(NameOf(Stage::kVit), [&] {
    DIPTYCH_RETURN_IF_ERROR(row.status());
    image = VisualTokens::Make(std::move(row->tokens), job->image_key, job->preparation.image_size,
                               std::move(row->class_attention), job->dtype);
    return image.status();
  });
  job->pixel_values.reset();
  if (status.ok()) {
    visual_tokens_ += (*image)->tokens();
  } else {
    ++failed_;
    image = status;
  }
  done_(job, std::move(image));
}

absl::StatusOr<std::vector<VisionEngine::Row>> VisionEngine::Encode(const Jobs& batch) {
  const bool analyses =
      std::any_of(batch.begin(), batch.end(), [](const auto& job) { return job->extras.class_attention; });
  std::vector<Row> rows;
  DIPTYCH_RETURN_IF_ERROR(CatchExceptions(
      NameOf(Stage::kVit),
      [&] {
        blip2::VisionAnalysis seen;
        if (analyses) {
          seen = analyze_(Stack(batch));
          seen.class_attention = blip2::Download(seen.class_attention);
        } else {
          seen.tokens = encode_(Stack(batch), batch[0]->preparation.merging);
        }
        const at::Tensor tokens = blip2::Download(seen.tokens);
        if (tokens.dim() != 3 || tokens.size(0) != static_cast<int64_t>(batch.size())) {
          return absl::InternalError("the vision transformer gave visual tokens of a wrong shape");
        }
        for (int64_t i = 0; i < tokens.size(0); ++i) {
          Row row{.tokens = InOwnStorage(tokens[i]), .class_attention = {}};
          if (batch[i]->extras.class_attention) row.class_attention = ToVector(seen.class_attention[i]);
          rows.push_back(std::move(row));
        }
        return absl::OkStatus();
      },
      blip2::StatusOfDeviceError));
  return rows;
}

void VisionEngine::Count(const Jobs& batch, SteadyDuration duration, bool succeeded) {
  ++passes_;
  encoded_ += static_cast<int64_t>(batch.size());
  busy_ns_ += std::chrono::nanoseconds(duration).count();
  ++passes_by_batch_size_[BucketOf(batch.size())];
  if (!succeeded) return;
  MutexLock lock(mutex_);
  batcher_.Learn(batch[0]->shape(), duration);
}

void VisionEngine::AddTo(VisionStats& stats) const {
  {
    MutexLock lock(mutex_);
    stats.images_waiting += static_cast<int>(batcher_.size());
  }
  stats.images_running = running_;
  stats.passes = passes_;
  stats.encoded_images = encoded_;
  stats.failed_images = failed_;
  stats.visual_tokens = visual_tokens_;
  stats.busy = std::chrono::nanoseconds(busy_ns_);
  if (const SteadyTime begin = pass_begin_; begin != SteadyTime{}) stats.busy += SteadyClock::now() - begin;
  for (size_t i = 0; i < passes_by_batch_size_.size(); ++i) stats.passes_by_batch_size[i] = passes_by_batch_size_[i];
}

}  // namespace diptych::vision
