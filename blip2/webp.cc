#include "blip2/webp.h"

#include <cstddef>
#include <opencv2/imgcodecs.hpp>
#include <utility>

#include "common/status.h"

namespace diptych::blip2 {

// OpenCV picks its decoder by signature, and some of its decoders are not fit for hostile files. All
// that its WebP decoder demands of the first 32 bytes has been checked in ReadImageHeader, and that
// decoder is asked before those for other formats.
absl::StatusOr<RgbImage> DecodeWebp(std::string_view bytes, const ImageHeader& header) {
  const absl::Status damaged =
      MakeError(absl::StatusCode::kInvalidArgument, reason::kImageCorrupt, "the WebP data is damaged or cut off");
  RgbImage image{.width = static_cast<int>(header.width), .height = static_cast<int>(header.height), .pixels = {}};
  image.pixels.resize(3 * static_cast<size_t>(header.width * header.height));
  const cv::Mat encoded(1, static_cast<int>(bytes.size()), CV_8UC1, const_cast<char*>(bytes.data()));
  cv::Mat decoded(image.height, image.width, CV_8UC3, image.pixels.data());
  try {
    cv::imdecode(encoded, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION, &decoded);
  } catch (const cv::Exception&) {
    return damaged;
  }
  if (decoded.data != image.pixels.data()) return damaged;  // failed, or the sides differ from the header's
  for (size_t i = 0; i < image.pixels.size(); i += 3) std::swap(image.pixels[i], image.pixels[i + 2]);
  return image;
}

}  // namespace diptych::blip2
