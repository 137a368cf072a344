#include "blip2/webp.h"

#include <cstddef>
#include <opencv2/imgcodecs.hpp>
#include <utility>
#include <vector>

#include "blip2/alpha.h"
#include "common/status.h"

namespace diptych::blip2 {

// OpenCV picks its decoder by signature, and some of its decoders are not fit for hostile files. All
// that its WebP decoder demands of the first 32 bytes has been checked in ReadImageHeader, and that
// decoder is asked before those for other formats.
absl::StatusOr<RgbImage> DecodeWebp(std::string_view bytes, const ImageHeader& header) {
  const absl::Status damaged =
      MakeError(absl::StatusCode::kInvalidArgument, reason::kImageCorrupt, "the WebP data is damaged or cut off");
  const cv::Mat encoded(1, static_cast<int>(bytes.size()), CV_8UC1, const_cast<char*>(bytes.data()));
  cv::Mat decoded;  // blue first, alpha last where the file has one
  try {
    decoded = cv::imdecode(encoded, cv::IMREAD_UNCHANGED);
  } catch (const cv::Exception&) {
    return damaged;
  }
  if (decoded.cols != header.width || decoded.rows != header.height || decoded.depth() != CV_8U ||
      !decoded.isContinuous()) {
    return damaged;
  }
  const auto channels = static_cast<size_t>(decoded.channels());
  if (channels != 3 && channels != 4) return damaged;
  std::vector<uint8_t> pixels(decoded.datastart, decoded.dataend);
  decoded.release();
  for (size_t i = 0; i < pixels.size(); i += channels) std::swap(pixels[i], pixels[i + 2]);
  if (channels == 4) pixels = OverWhite(std::move(pixels));
  return RgbImage{
      .width = static_cast<int>(header.width), .height = static_cast<int>(header.height), .pixels = std::move(pixels)};
}

}  // namespace diptych::blip2
