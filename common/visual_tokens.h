// What both ends of VisionService.EncodeImage must agree on beyond the messages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "diptych/v1/vision.pb.h"

namespace diptych {

inline constexpr size_t kMaxChunkBytes = 256 << 10;

// Bytes of one number; 0 for a type that is not known.
constexpr int64_t BytesOf(v1::NumberType type) {
  switch (type) {
    case v1::NUMBER_TYPE_FLOAT32:
      return 4;
    case v1::NUMBER_TYPE_BFLOAT16:
    case v1::NUMBER_TYPE_FLOAT16:
      return 2;
    default:
      return 0;
  }
}

}  // namespace diptych
