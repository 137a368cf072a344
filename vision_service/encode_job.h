// One picture on its way through the vision service.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/call_watch.h"
#include "common/image_preparation.h"
#include "common/stage_clock.h"
#include "diptych/v1/vision.pb.h"

namespace diptych {

struct EncodeTimings {
  SteadyDuration image_decode{};
  SteadyDuration image_resize{};
  SteadyDuration queue{};  // for an image worker and for the engine
  SteadyDuration vit{};
};

// The visual tokens [P, Dv] of one picture: row-major, little-endian.
struct EncodedImage {
  std::string bytes;
  v1::NumberType dtype = v1::NUMBER_TYPE_UNSPECIFIED;
  int tokens = 0;  // P
  int width = 0;   // Dv
  std::string image_key;
  int image_size = 0;  // pixels
  EncodeTimings timings;
};

// Belongs to one thread at a time; queues hand it on.
struct EncodeJob {
  std::string encoded;  // the file; released once it is decoded
  ImagePreparation preparation;
  std::shared_ptr<const CallWatch> watch;
  // Receives the outcome exactly once, on the thread that has it. Must not wait.
  std::function<void(absl::StatusOr<EncodedImage>)> done;

  SteadyTime queued_at{};  // when it entered the queue that it is in
  std::string image_key{};
  at::Tensor pixel_values{};  // [1, 3, S, S] float32 once decoded
  EncodeTimings timings{};
};

}  // namespace diptych
