#include "blip2/images/image.h"

#include <utility>

#include "blip2/images/gif.h"
#include "blip2/images/jpeg.h"
#include "blip2/images/orientation.h"
#include "blip2/images/png.h"
#include "blip2/images/webp.h"
#include "common/status.h"

namespace diptych::blip2 {

namespace {

absl::StatusOr<RgbImage> DecodePixels(std::string_view bytes, const ImageHeader& header, const DecodeCheck& check,
                                      int least_side) {
  switch (header.format) {
    case ImageFormat::kJpeg:
      return DecodeJpeg(bytes, header, check, least_side);
    case ImageFormat::kPng:
      return DecodePng(bytes, header, check);
    case ImageFormat::kGif:
      return DecodeGif(bytes, header, check);
    case ImageFormat::kWebp:
      return DecodeWebp(bytes, header, check);
  }
  return MakeError(absl::StatusCode::kInternal, "", "an image format has no decoder");
}

}  // namespace

absl::StatusOr<RgbImage> DecodeImage(std::string_view bytes, const ImageLimits& limits, const DecodeCheck& check,
                                     int least_side) {
  DIPTYCH_ASSIGN_OR_RETURN(const ImageHeader header, CheckImage(bytes, limits));
  DIPTYCH_RETURN_IF_ERROR(Ask(check));
  DIPTYCH_ASSIGN_OR_RETURN(RgbImage image, DecodePixels(bytes, header, check, least_side));
  return TurnUpright(std::move(image), OrientationOf(bytes, header.format));
}

}  // namespace diptych::blip2
