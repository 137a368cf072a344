#include "vision_service/engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "blip2/device/device_error.h"
#include "common/process/catch_exceptions.h"
#include "common/status.h"
#include "common/tiers/on_card.h"
#include "vision_service/trial.h"

namespace diptych::vision {
namespace {

std::vector<float> ToVector(const at::Tensor& row) {
  const at::Tensor numbers = row.contiguous();
  return {numbers.const_data_ptr<float>(), numbers.const_data_ptr<float>() + numbers.numel()};
}

}  // namespace

VisionEngine::VisionEngine(const ServedVisionModel& model, const Batcher::Options& options, SteadyDuration longest_pass,
                           Done done)
    : encode_(model.encode),
      analyze_(model.analyze),
      upload_(model.upload),
      done_(std::move(done)),
      image_size_(model.description.image_size()),
      on_card_(IsOnCard(model.description)),
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
  std::optional<Pass> computed;  // whose tokens are on their way to the host
  while (Next(batch, expired, /*may_wait=*/!computed)) {
    CatchInThread(NameOf(Stage::kVit), [&] {
      for (auto& job : expired) done_(std::move(job), DeadlinePassed(Stage::kVisionQueue));
      std::optional<Pass> next;
      if (!batch.empty()) next = Launch(std::move(batch));
      if (computed) Deliver(*std::exchange(computed, std::nullopt));
      if (!next) return;
      if (upload_) SendUpcoming();
      Await(*next);
      if (on_card_ && next->seen.ok()) {
        computed = std::move(next);
      } else {
        Deliver(*std::move(next));
      }
    });
    batch.clear();
    expired.clear();
  }
}

bool VisionEngine::Next(Jobs& batch, Jobs& expired, bool may_wait) {
  MutexLock lock(mutex_);
  while (true) {
    const Batcher::Plan plan = batcher_.Next(SteadyClock::now(), /*may_delay=*/!closed_);
    for (const uint64_t id : plan.run) batch.push_back(Take(id));
    for (const auto& [id, deadline] : plan.expired) {
      expired.push_back(Take(id));
      expired.back()->judged_deadline = deadline;
    }
    running_ = static_cast<int>(batch.size());
    if (!batch.empty() || !expired.empty() || !may_wait) return true;
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

VisionEngine::Pass VisionEngine::Launch(Jobs batch) {
  const SteadyTime begin = SteadyClock::now();
  pass_begin_ = begin;
  health_.Begin();
  absl::StatusOr<Seen> seen = Encode(batch);
  return {.jobs = std::move(batch), .begin = begin, .seen = std::move(seen)};
}

void VisionEngine::Await(Pass& pass) {
  if (pass.seen.ok()) {
    const auto await = [&] { return pass.seen->tokens.AwaitComputed(), absl::OkStatus(); };
    const absl::Status status = CatchExceptions(NameOf(Stage::kVit), await, blip2::StatusOfDeviceError);
    if (!status.ok()) pass.seen = status;
  }
  health_.End();
  if (!pass.seen.ok()) Judge(pass.seen.status());  // before a caller learns of it
  const SteadyTime end = SteadyClock::now();
  pass_begin_ = SteadyTime{};
  Count(pass.jobs, end - pass.begin, pass.seen.ok());
  for (const auto& job : pass.jobs) {
    job->timeline.vit_begin = pass.begin;
    job->timeline.vit_end = end;
  }
}

void VisionEngine::Judge(const absl::Status& pass) {
  if (health_.Judge(pass)) health_.Tried(TryEncode(encode_, image_size_).ok());
}

void VisionEngine::Deliver(Pass pass) {
  if (!pass.seen.ok() && !IsDeviceLost(pass.seen.status()) && pass.jobs.size() > 1) {
    // One image must not fail the others: each gets a pass of its own.
    for (auto& job : pass.jobs) {
      Pass alone = Launch({std::move(job)});
      Await(alone);
      Deliver(std::move(alone));
    }
    return;
  }
  absl::Status collected;
  for (size_t i = 0; i < pass.jobs.size(); ++i) {
    auto image = Collect(pass, i);
    collected.Update(image.status());
    pass.jobs[i]->pixel_values.reset();
    pass.jobs[i]->upload.reset();
    if (image.ok()) {
      visual_tokens_ += (*image)->tokens();
    } else {
      ++failed_;
    }
    done_(std::move(pass.jobs[i]), std::move(image));
  }
  if (pass.seen.ok()) Judge(collected);
}

absl::StatusOr<std::shared_ptr<const VisualTokens>> VisionEngine::Collect(const Pass& pass, size_t index) {
  const EncodeJob& job = *pass.jobs[index];
  absl::StatusOr<std::shared_ptr<const VisualTokens>> image;
  const absl::Status status = CatchExceptions(
      NameOf(Stage::kVit),
      [&] {
        DIPTYCH_RETURN_IF_ERROR(pass.seen.status());
        const auto row = static_cast<int64_t>(index);
        std::vector<float> attention;
        if (job.extras.class_attention) attention = ToVector(pass.seen->class_attention[row]);
        image = VisualTokens::Make(pass.seen->tokens.Take(row), job.image_key, job.preparation.image_size,
                                   std::move(attention), job.dtype);
        return image.status();
      },
      blip2::StatusOfDeviceError);
  if (!status.ok()) return status;
  return image;
}

absl::StatusOr<VisionEngine::Seen> VisionEngine::Encode(const Jobs& batch) {
  const bool analyses =
      std::any_of(batch.begin(), batch.end(), [](const auto& job) { return job->extras.class_attention; });
  std::optional<Seen> result;
  DIPTYCH_RETURN_IF_ERROR(CatchExceptions(
      NameOf(Stage::kVit),
      [&] {
        blip2::VisionAnalysis seen;
        if (analyses) {
          seen = analyze_(PixelsOf(batch));
          seen.class_attention = blip2::Download(seen.class_attention);
        } else {
          seen.tokens = encode_(PixelsOf(batch), batch[0]->preparation.merging);
        }
        if (seen.tokens.dim() != 3 || seen.tokens.size(0) != static_cast<int64_t>(batch.size())) {
          return absl::InternalError("the vision transformer gave visual tokens of a wrong shape");
        }
        result.emplace(Seen{.tokens = blip2::RowDownload(seen.tokens), .class_attention = seen.class_attention});
        return absl::OkStatus();
      },
      blip2::StatusOfDeviceError));
  return *std::move(result);
}

at::Tensor VisionEngine::PixelsOf(const Jobs& batch) const {
  if (batch.size() == 1) return PixelsOf(*batch[0]);
  std::vector<at::Tensor> pixels;
  for (const auto& job : batch) pixels.push_back(PixelsOf(*job));
  return at::cat(pixels);
}

at::Tensor VisionEngine::PixelsOf(EncodeJob& job) const {
  if (!upload_) return job.pixel_values;
  if (!job.upload) job.upload = upload_(job.pixel_values);
  return job.upload->Take();
}

void VisionEngine::SendUpcoming() {
  Jobs upcoming;
  {
    MutexLock lock(mutex_);
    const std::vector<uint64_t> ids = batcher_.Upcoming();
    for (const auto& [id, job] : waiting_) {
      if (std::find(ids.begin(), ids.end(), id) == ids.end()) {
        job->upload.reset();
      } else if (!job->upload) {
        upcoming.push_back(job);
      }
    }
  }
  CatchInThread(NameOf(Stage::kVit), [&] {
    for (const auto& job : upcoming) job->upload = upload_(job->pixel_values);
  });
}

void VisionEngine::Count(const Jobs& batch, SteadyDuration duration, bool succeeded) {
  ++passes_;
  encoded_ += static_cast<int64_t>(batch.size());
  busy_ns_ += std::chrono::nanoseconds(duration).count();
  ++passes_by_batch_size_[BatchSizeBucket(static_cast<int64_t>(batch.size()))];
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
