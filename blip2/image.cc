#include "blip2/image.h"

#include <utility>

#include "blip2/jpeg.h"
#include "blip2/png.h"
#include "blip2/webp.h"
#include "common/status.h"

namespace diptych::blip2 {

absl::StatusOr<RgbImage> DecodeImage(std::string_view bytes, const ImageLimits& limits) {
  DIPTYCH_ASSIGN_OR_RETURN(const ImageHeader header, CheckImage(bytes, limits));
  switch (header.format) {
    case ImageFormat::kJpeg:
      return DecodeJpeg(bytes, header);
    case ImageFormat::kPng:
      return DecodePng(bytes, header);
    case ImageFormat::kWebp:
      return DecodeWebp(bytes, header);
  }
  return MakeError(absl::StatusCode::kInternal, "", "an image format has no decoder");
}

}  // namespace diptych::blip2
