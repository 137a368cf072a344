// One image on its way through the vision service, for all calls that wait for it.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "blip2/device/transfer.h"
#include "common/containers/byte_budget.h"
#include "common/grpc/call_context.h"
#include "common/requests/image_preparation.h"
#include "vision_service/batcher.h"
#include "vision_service/visual_tokens.h"

namespace diptych::vision {

// Requested results beyond the visual tokens.
struct EncodeExtras {
  bool class_attention = false;  // only without merging
  bool prepared_image = false;
};

// Owned by shared_ptr. Belongs to one thread at a time, queues hand it on; what is atomic may be read and written by
// all.
struct EncodeJob {
  uint64_t id = 0;  // of its flight, too
  std::string image_key;
  std::string caller;   // the name of the key that asked first; empty where none is known
  std::string encoded;  // the file; released once it is decoded
  ImagePreparation preparation;
  EncodeExtras extras;
  v1::NumberType dtype = v1::NUMBER_TYPE_UNSPECIFIED;  // as EncodeInput::dtype
  std::shared_ptr<const VisualTokens> found;           // in the cache, if the image itself is all that is missing
  int64_t token_bytes = 0;                             // of the visual tokens that will come, at most
  ByteBudget::Lease memory;                            // for file, pixel values and visual tokens
  EncodeTimeline timeline;
  at::Tensor pixel_values;                          // [1, 3, S, S] float32 once decoded; none if the tokens were found
  std::optional<blip2::SideUpload> upload;          // of these, once it has begun
  std::shared_ptr<const std::string> prepared_png;  // once decoded, if it is wanted

  std::atomic<bool> wanted = true;                       // false once the last caller has left
  std::atomic<SteadyTime> deadline = SteadyTime::min();  // the latest of the callers'
  SteadyTime judged_deadline{};                          // what it was when the job was given up for it

  BatchShape shape() const { return {.image_size = preparation.image_size, .merging = preparation.merging}; }
};

}  // namespace diptych::vision
