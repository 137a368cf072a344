// Cuts visual tokens into the messages of VisionService.EncodeImage.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <string_view>

#include "vision_service/visual_tokens.h"

namespace diptych::vision {

// Header, chunks and trailer together.
int MessageCount(const EncodeResult& image);

// The serialized EncodeImageResponse at `index`: the header first, the trailer at MessageCount - 1. A chunk's message
// refers to the image's own buffer and keeps it alive; nothing is copied.
// Requires: 0 <= index < MessageCount.
grpc::ByteBuffer MessageAt(const EncodeResult& image, std::string_view model_fingerprint, int index);

}  // namespace diptych::vision
