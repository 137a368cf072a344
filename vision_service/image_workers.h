// The threads that turn encoded files into pixel tensors and, for analyses, into the image that the model sees.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "blip2/checkpoint/config.h"
#include "blip2/images/image.h"
#include "common/images/image_header.h"
#include "vision_service/encode_job.h"
#include "vision_service/engine.h"
#include "vision_service/image_queue.h"

namespace diptych::vision {

// Thread-safe.
class ImageWorkers {
 public:
  struct Options {
    int threads = 1;
    int queue_limit = 1;  // jobs that may wait
    ImageLimits limits;
    bool scaled_decode = false;  // as VisionOptions::image_decode says
    blip2::ImageProcessorConfig image_processor;
    std::function<at::Tensor(const at::Tensor& pixel_values)> pin = nullptr;  // as ServedVisionModel::pin
  };
  // `engine`, which must outlive this, takes each job whose pixel_values are set. `done` receives those that end here:
  // they have failed, or their tokens were found before.
  ImageWorkers(Options options, VisionEngine& engine, VisionEngine::Done done);
  // Works off what is queued, then joins the threads.
  ~ImageWorkers();

  // Never waits. INVALID_ARGUMENT if the file's header is that of no image within the limits; RESOURCE_EXHAUSTED with
  // QUEUE_FULL if the queue is full.
  absl::Status Submit(std::shared_ptr<EncodeJob> job);
  // Drops the job if it waits here.
  void Remove(const EncodeJob& job);

  // Fills in what is the workers'.
  void AddTo(VisionStats& stats) const;

 private:
  void Run();
  void Work(std::shared_ptr<EncodeJob> job);
  absl::Status Prepare(EncodeJob& job);
  absl::Status DecodeAndResize(EncodeJob& job);
  // As blip2::DecodeImage takes it.
  int LeastSide(const ImagePreparation& preparation) const;
  // The image in the size that the model sees.
  absl::StatusOr<blip2::RgbImage> DecodeToSquare(EncodeJob& job);

  const Options options_;
  VisionEngine& engine_;
  const VisionEngine::Done done_;
  ImageQueue queue_;
  std::atomic<int> decoding_ = 0;
  std::atomic<int64_t> decoded_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace diptych::vision
