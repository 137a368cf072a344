#include "blip2/images/webp.h"

#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "blip2/images/alpha.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

absl::Status WebpDamaged() {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageCorrupt, "the WebP data is damaged or cut off");
}

struct DeleteWebp {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
  void operator()(WebPIDecoder* decoder) const { WebPIDelete(decoder); }
};

// The first frame of a file, where it lies on the canvas. Borrows from the demuxer.
class FirstWebpFrame {
 public:
  explicit FirstWebpFrame(const WebPDemuxer& demuxer) : found_(WebPDemuxGetFrame(&demuxer, 1, &frame_) != 0) {}
  FirstWebpFrame(const FirstWebpFrame&) = delete;
  FirstWebpFrame& operator=(const FirstWebpFrame&) = delete;
  ~FirstWebpFrame() { WebPDemuxReleaseIterator(&frame_); }

  bool found() const { return found_; }
  const WebPIterator& get() const { return frame_; }

 private:
  WebPIterator frame_{};
  const bool found_;
};

// Decodes piece by piece, so that the check is asked in between.
absl::Status DecodeWebpFrame(const WebPData& data, WebPDecoderConfig& config, const DecodeCheck& check) {
  constexpr size_t kPieceBytes = 64 << 10;
  const std::unique_ptr<WebPIDecoder, DeleteWebp> decoder(WebPIDecode(nullptr, 0, &config));
  if (decoder == nullptr)
    return MakeError(absl::StatusCode::kResourceExhausted, "", "the WebP decoder could not start");
  VP8StatusCode status = VP8_STATUS_SUSPENDED;
  for (size_t size = 0; status == VP8_STATUS_SUSPENDED && size < data.size;) {
    DIPTYCH_RETURN_IF_ERROR(Ask(check));
    size = std::min(size + kPieceBytes, data.size);
    status = WebPIUpdate(decoder.get(), data.bytes, size);
  }
  return status == VP8_STATUS_OK ? absl::OkStatus() : WebpDamaged();
}

// Fills the frame's place on the canvas. Requires: the frame lies on it.
absl::Status DecodeOnto(const WebPIterator& frame, int canvas_width, size_t channels, std::vector<uint8_t>& pixels,
                        const DecodeCheck& check) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) return absl::InternalError("libwebp has another version than its headers");
  const size_t stride = channels * static_cast<size_t>(canvas_width);
  const size_t begin = stride * static_cast<size_t>(frame.y_offset) + channels * static_cast<size_t>(frame.x_offset);
  config.output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {
      .rgba = pixels.data() + begin, .stride = static_cast<int>(stride), .size = pixels.size() - begin};
  return DecodeWebpFrame(frame.fragment, config, check);
}

}  // namespace

absl::StatusOr<RgbImage> DecodeWebp(std::string_view bytes, const ImageHeader& header, const DecodeCheck& check) {
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const std::unique_ptr<WebPDemuxer, DeleteWebp> demuxer(WebPDemux(&data));
  WebPBitstreamFeatures features;
  if (demuxer == nullptr || WebPGetFeatures(data.bytes, data.size, &features) != VP8_STATUS_OK) return WebpDamaged();
  if (WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH) != header.width ||
      WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT) != header.height) {
    return WebpDamaged();
  }
  const FirstWebpFrame frame(*demuxer);
  if (!frame.found()) return WebpDamaged();
  const size_t channels = features.has_alpha != 0 ? 4 : 3;
  RgbImage image{.width = static_cast<int>(header.width), .height = static_cast<int>(header.height), .pixels = {}};
  image.pixels.resize(channels * static_cast<size_t>(header.width) * static_cast<size_t>(header.height));
  DIPTYCH_RETURN_IF_ERROR(DecodeOnto(frame.get(), image.width, channels, image.pixels, check));
  if (channels == 4) image.pixels = OverWhite(std::move(image.pixels));
  return image;
}

}  // namespace diptych::blip2
