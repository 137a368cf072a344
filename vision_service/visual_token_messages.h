// Cuts visual tokens into the messages of VisionService.EncodeImage.
#pragma once

#include <string_view>

#include "diptych/v1/vision.pb.h"
#include "vision_service/encode_job.h"

namespace diptych {

// Header, chunks and trailer together.
int MessageCount(const EncodedImage& image);

// The message at `index`: the header first, the trailer at MessageCount - 1. Requires: 0 <= index < MessageCount.
v1::EncodeImageResponse MessageAt(const EncodedImage& image, std::string_view model_fingerprint, int index);

}  // namespace diptych
