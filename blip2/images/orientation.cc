#include "blip2/images/orientation.h"

#include <opencv2/core.hpp>
#include <utility>

#include "blip2/images/exif.h"
#include "blip2/images/metadata.h"

namespace diptych::blip2 {
namespace {

void TurnInto(const cv::Mat& from, int orientation, cv::Mat& to) {
  constexpr int kUpsideDown = 0, kMirrored = 1;
  switch (orientation) {
    case 2:
      return cv::flip(from, to, kMirrored);
    case 3:
      return cv::rotate(from, to, cv::ROTATE_180);
    case 4:
      return cv::flip(from, to, kUpsideDown);
    case 5:
      return cv::transpose(from, to);
    case 6:
      return cv::rotate(from, to, cv::ROTATE_90_CLOCKWISE);
    case 7:
      cv::rotate(from, to, cv::ROTATE_90_CLOCKWISE);
      return cv::flip(to, to, kUpsideDown);
    default:
      return cv::rotate(from, to, cv::ROTATE_90_COUNTERCLOCKWISE);
  }
}

}  // namespace

int OrientationOf(std::string_view bytes, ImageFormat format) {
  const ImageMetadata metadata = ReadMetadata(bytes, format);
  if (const auto orientation = ExifOrientation(metadata.exif)) return *orientation;
  return XmpOrientation(metadata.xmp).value_or(kUpright);
}

RgbImage TurnUpright(RgbImage image, int orientation) {
  if (orientation == kUpright) return image;
  RgbImage turned{.width = image.width, .height = image.height, .pixels = std::vector<uint8_t>(image.pixels.size())};
  if (SwapsSides(orientation)) std::swap(turned.width, turned.height);
  const cv::Mat from(image.height, image.width, CV_8UC3, image.pixels.data());
  cv::Mat to(turned.height, turned.width, CV_8UC3, turned.pixels.data());
  TurnInto(from, orientation, to);
  return turned;
}

}  // namespace diptych::blip2
