// Conventions of both ends of VisionService.EncodeImage beyond the messages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "diptych/v1/vision.pb.h"

namespace diptych {

inline constexpr size_t kMaxChunkBytes = 256 << 10;

// Bytes of a streamed tensor [tokens, width], its scales included; 0 for a type that is not known.
constexpr int64_t StreamedBytes(v1::NumberType type, int64_t tokens, int64_t width) {
  switch (type) {
    case v1::NUMBER_TYPE_FLOAT32:
      return 4 * tokens * width;
    case v1::NUMBER_TYPE_BFLOAT16:
    case v1::NUMBER_TYPE_FLOAT16:
      return 2 * tokens * width;
    case v1::NUMBER_TYPE_INT8:
      return (4 + tokens) * width;
    default:
      return 0;
  }
}

}  // namespace diptych
