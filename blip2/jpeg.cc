#include "blip2/jpeg.h"

#include <turbojpeg.h>

#include <algorithm>
#include <cstddef>
#include <memory>

#include "common/status.h"

namespace diptych::blip2 {
namespace {

struct DestroyDecoder {
  void operator()(void* decoder) const { tjDestroy(decoder); }
};

uint8_t ClipToByte(int value) {
  return static_cast<uint8_t>(std::clamp(value, 0, 255));
}

// Rounded a * b / 255, as Pillow's MULDIV255 does it.
int MultiplyBytes(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

// CMYK to RGB in place, four bytes to three. Like Pillow, takes the inks as stored inverted (Adobe's
// way) whether or not the file has Adobe's marker.
void CmykToRgb(std::vector<uint8_t>& pixels) {
  const size_t pixel_count = pixels.size() / 4;
  for (size_t i = 0; i < pixel_count; ++i) {
    const uint8_t* const from = pixels.data() + 4 * i;
    uint8_t* const to = pixels.data() + 3 * i;
    const int white = from[3];  // 255 − black
    for (int c = 0; c < 3; ++c) to[c] = ClipToByte(white - MultiplyBytes(255 - from[c], white));
  }
  pixels.resize(3 * pixel_count);
}

}  // namespace

absl::StatusOr<RgbImage> DecodeJpeg(std::string_view bytes, const ImageHeader& header) {
  const std::unique_ptr<void, DestroyDecoder> decoder(tjInitDecompress());
  if (!decoder) return MakeError(absl::StatusCode::kResourceExhausted, "", "the JPEG decoder could not start");
  const bool cmyk = header.channels == 4;
  RgbImage image{.width = static_cast<int>(header.width), .height = static_cast<int>(header.height), .pixels = {}};
  image.pixels.resize(static_cast<size_t>(header.width * header.height) * (cmyk ? 4 : 3));
  // Without STOPONWARNING a cut-off file decodes to a partly grey image. LIMITSCANS bounds what a
  // progressive file of countless scans costs.
  constexpr int kFlags = TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
  const int result =
      tjDecompress2(decoder.get(), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                    image.pixels.data(), image.width, /*pitch=*/0, image.height, cmyk ? TJPF_CMYK : TJPF_RGB, kFlags);
  if (result != 0) {
    return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageCorrupt, "the JPEG data is damaged or cut off");
  }
  if (cmyk) CmykToRgb(image.pixels);
  return image;
}

}  // namespace diptych::blip2
