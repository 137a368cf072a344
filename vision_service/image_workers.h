// The threads that turn encoded files into pixel tensors.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "blip2/config.h"
#include "common/bounded_queue.h"
#include "common/image_header.h"
#include "vision_service/encode_job.h"

namespace diptych {

// Thread-safe.
class ImageWorkers {
 public:
  struct Options {
    int threads = 1;
    int queue_limit = 1;  // jobs that may wait
    ImageLimits limits;
    blip2::ImageProcessorConfig image_processor;
    std::string fingerprint;  // of the vision model; part of the image key
  };

  // `next` takes each job whose pixel_values are set.
  ImageWorkers(Options options, std::function<void(EncodeJob)> next);
  // Works off what is queued, then joins the threads.
  ~ImageWorkers();

  // Never waits; a full queue ends the job with RESOURCE_EXHAUSTED.
  void Submit(EncodeJob job);

 private:
  void Run();
  absl::Status Prepare(EncodeJob& job) const;

  const Options options_;
  const std::function<void(EncodeJob)> next_;
  BoundedQueue<EncodeJob> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace diptych
