// The vision engine: one thread that alone runs the vision transformer.
#pragma once

#include <functional>
#include <thread>

#include "common/bounded_queue.h"
#include "vision_service/encode_job.h"

namespace diptych {

// Takes pictures in the order in which they come, one at a time. Thread-safe.
class VisionEngine {
 public:
  using Encode = std::function<at::Tensor(const at::Tensor&)>;

  // `encode` as in ServedVisionModel. At most `queue_limit` jobs wait.
  VisionEngine(Encode encode, int queue_limit);
  // Runs what is queued to its end, then joins the thread.
  ~VisionEngine();

  // Takes a job whose pixel_values are set. Never waits; a full queue ends the job with RESOURCE_EXHAUSTED.
  void Submit(EncodeJob job);

 private:
  void Run();

  const Encode encode_;
  BoundedQueue<EncodeJob> queue_;
  std::thread thread_;
};

}  // namespace diptych
