#include "common/images/image_header.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "common/images/gif_frame.h"
#include "common/images/jpeg_segments.h"
#include "common/images/other_format.h"
#include "common/status.h"

namespace diptych {
namespace {

constexpr std::string_view kJpegMagic = "\xff\xd8\xff";
constexpr std::string_view kPngMagic = "\x89PNG\r\n\x1a\n";

absl::Status FormatError(std::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageFormat, message);
}

absl::Status NotServed(std::string_view other) {
  constexpr char kServed[] = "the image is neither JPEG, PNG, WebP nor GIF";
  return FormatError(other.empty() ? kServed : absl::StrCat(kServed, " but ", std::string(other)));
}

absl::Status CorruptError(std::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageCorrupt, message);
}

absl::Status TooLargeError(std::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageTooLarge, message);
}

absl::Status CutOff() {
  return CorruptError("the image ends inside its header");
}

// Little-endian number of `count` bytes. Requires: offset + count <= bytes.size().
uint32_t LittleEndian(std::string_view bytes, size_t offset, int count) {
  uint32_t value = 0;
  for (int i = count - 1; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[offset + i]);
  return value;
}

bool IsFrameMarker(uint8_t marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

// SOF segment: precision 1, height 2, width 2, components 1, three bytes each.
absl::StatusOr<ImageHeader> ReadJpegFrame(const JpegSegment& segment) {
  // Baseline, extended and progressive, with Huffman or arithmetic coding.
  const bool served = segment.marker <= 0xC2 || segment.marker == 0xC9 || segment.marker == 0xCA;
  if (!served) return FormatError("lossless and hierarchical JPEG are not served");
  const std::string_view frame = segment.payload;
  if (frame.size() < 6) return CorruptError("the JPEG frame header is too short");
  if (frame[0] != 8) return FormatError("only JPEG with 8 bits a sample is served");
  const ImageHeader header{.format = ImageFormat::kJpeg,
                           .width = BigEndianNumber(frame, 3, 2),
                           .height = BigEndianNumber(frame, 1, 2),
                           .channels = static_cast<uint8_t>(frame[5])};
  if (header.channels != 1 && header.channels != 3 && header.channels != 4) {
    return FormatError("only JPEG with 1, 3 or 4 components is served");
  }
  return header;
}

absl::StatusOr<ImageHeader> ReadJpegHeader(std::string_view bytes) {
  constexpr uint8_t kStartOfScan = 0xDA;
  JpegSegments segments(bytes);
  while (const auto segment = segments.Next()) {
    if (IsFrameMarker(segment->marker)) return ReadJpegFrame(*segment);
    if (segment->marker == kStartOfScan) return CorruptError("the JPEG has no frame header before its data");
  }
  return segments.cut_off() ? CutOff() : CorruptError("the JPEG has no frame header among its markers");
}

// Channels of a PNG colour type, 0 if type and bit depth do not go together.
int PngChannels(int color_type, int bit_depth) {
  const bool power_of_two = bit_depth == 1 || bit_depth == 2 || bit_depth == 4 || bit_depth == 8 || bit_depth == 16;
  if (!power_of_two) return 0;
  switch (color_type) {
    case 0:  // grey
      return 1;
    case 2:  // RGB
      return bit_depth >= 8 ? 3 : 0;
    case 3:  // palette
      return bit_depth <= 8 ? 1 : 0;
    case 4:  // grey and alpha
      return bit_depth >= 8 ? 2 : 0;
    case 6:  // RGB and alpha
      return bit_depth >= 8 ? 4 : 0;
    default:
      return 0;
  }
}

// Signature 8, then IHDR: length 4, name 4, width 4, height 4, depth, colour type, compression, filter,
// interlace, CRC 4.
absl::StatusOr<ImageHeader> ReadPngHeader(std::string_view bytes) {
  if (bytes.size() < 33) return CutOff();
  if (BigEndianNumber(bytes, 8, 4) != 13 || bytes.substr(12, 4) != "IHDR") {
    return CorruptError("the PNG does not begin with its header chunk");
  }
  const ImageHeader header{.format = ImageFormat::kPng,
                           .width = BigEndianNumber(bytes, 16, 4),
                           .height = BigEndianNumber(bytes, 20, 4),
                           .channels = PngChannels(bytes[25], bytes[24])};
  if (header.channels == 0 || bytes[26] != 0 || bytes[27] != 0 || static_cast<uint8_t>(bytes[28]) > 1) {
    return CorruptError("the PNG header holds a combination that PNG does not define");
  }
  return header;
}

// Payload begins at byte 20: frame tag 3, start code 3, width 2, height 2.
absl::StatusOr<ImageHeader> ReadVp8Header(std::string_view bytes, uint32_t chunk_bytes) {
  const uint32_t frame_tag = LittleEndian(bytes, 20, 3);  // not key: 1, profile: 3, shown: 1, partition bytes: 19
  const bool shown_key_frame = (frame_tag & 1) == 0 && (frame_tag >> 1 & 7) <= 3 && (frame_tag >> 4 & 1) == 1;
  if (!shown_key_frame || frame_tag >> 5 >= chunk_bytes || bytes.substr(23, 3) != "\x9d\x01\x2a") {
    return CorruptError("the WebP has no VP8 key frame");
  }
  return ImageHeader{.format = ImageFormat::kWebp,
                     .width = LittleEndian(bytes, 26, 2) & 0x3FFF,  // the top two bits ask for upscaling
                     .height = LittleEndian(bytes, 28, 2) & 0x3FFF,
                     .channels = 3};
}

absl::StatusOr<ImageHeader> ReadVp8lHeader(std::string_view bytes) {
  const uint32_t fields = LittleEndian(bytes, 21, 4);  // width − 1: 14, height − 1: 14, alpha: 1, version: 3
  if (bytes[20] != 0x2F || fields >> 29 != 0) return CorruptError("the WebP has no VP8L header");
  return ImageHeader{.format = ImageFormat::kWebp,
                     .width = (fields & 0x3FFF) + 1,
                     .height = (fields >> 14 & 0x3FFF) + 1,
                     .channels = fields >> 28 & 1 ? 4 : 3};
}

absl::StatusOr<ImageHeader> ReadVp8xHeader(std::string_view bytes, uint32_t chunk_bytes) {
  constexpr uint8_t kAlpha = 0x10;
  const uint8_t flags = bytes[20];
  if (chunk_bytes != 10) return CorruptError("the WebP has a VP8X header of the wrong length");
  return ImageHeader{.format = ImageFormat::kWebp,
                     .width = LittleEndian(bytes, 24, 3) + 1,
                     .height = LittleEndian(bytes, 27, 3) + 1,
                     .channels = flags & kAlpha ? 4 : 3};
}

// RIFF container: "RIFF", size 4, "WEBP", then chunks of name 4, size 4, payload (padded to even).
absl::StatusOr<ImageHeader> ReadWebpHeader(std::string_view bytes) {
  if (bytes.size() < 32) return CutOff();
  const uint32_t riff_bytes = LittleEndian(bytes, 4, 4);
  if (riff_bytes > bytes.size() - 8) return CorruptError("the WebP ends before its announced length");
  const uint32_t chunk_bytes = LittleEndian(bytes, 16, 4);
  if (riff_bytes < 12 || chunk_bytes > riff_bytes - 12) return CorruptError("a WebP chunk is longer than its file");
  const std::string_view chunk = bytes.substr(12, 4);
  if (chunk == "VP8 ") return ReadVp8Header(bytes, chunk_bytes);
  if (chunk == "VP8L") return ReadVp8lHeader(bytes);
  if (chunk == "VP8X") return ReadVp8xHeader(bytes, chunk_bytes);
  return CorruptError("the WebP begins with a chunk that holds no image");
}

absl::StatusOr<ImageHeader> ReadGifHeader(std::string_view bytes) {
  DIPTYCH_ASSIGN_OR_RETURN(const GifFrame frame, ReadGifFrame(bytes));
  return ImageHeader{
      .format = ImageFormat::kGif, .width = frame.canvas_width, .height = frame.canvas_height, .channels = 1};
}

absl::StatusOr<ImageHeader> ReadAnyHeader(std::string_view bytes) {
  if (bytes.empty()) return FormatError("the image is empty");
  if (bytes.substr(0, kJpegMagic.size()) == kJpegMagic) return ReadJpegHeader(bytes);
  if (bytes.substr(0, kPngMagic.size()) == kPngMagic) return ReadPngHeader(bytes);
  if (bytes.substr(0, 4) == "RIFF" && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") return ReadWebpHeader(bytes);
  if (bytes.starts_with("GIF87a") || bytes.starts_with("GIF89a")) return ReadGifHeader(bytes);
  return NotServed(OtherFormat(bytes));
}

}  // namespace

absl::Status CheckLimits(const ImageLimits& limits) {
  if (limits.max_bytes < (1 << 10) || limits.max_bytes > (256 << 20)) {
    return absl::InvalidArgumentError("--max_image_bytes takes 1 KiB to 256 MiB");
  }
  if (limits.max_pixels < 1) return absl::InvalidArgumentError("--max_image_pixels takes 1 or more");
  return absl::OkStatus();
}

absl::StatusOr<ImageHeader> ReadImageHeader(std::string_view bytes) {
  DIPTYCH_ASSIGN_OR_RETURN(const ImageHeader header, ReadAnyHeader(bytes));
  if (header.width == 0 || header.height == 0) return CorruptError("the image says that a side has no pixels");
  return header;
}

absl::StatusOr<ImageHeader> CheckImage(std::string_view bytes, const ImageLimits& limits) {
  const int64_t size = static_cast<int64_t>(bytes.size());
  if (size > limits.max_bytes) {
    return TooLargeError(absl::StrCat("the image has ", size, " bytes; the limit is ", limits.max_bytes));
  }
  DIPTYCH_ASSIGN_OR_RETURN(const ImageHeader header, ReadImageHeader(bytes));
  const std::string sides = absl::StrCat(header.width, " x ", header.height);
  if (header.width > limits.max_side || header.height > limits.max_side) {
    return TooLargeError(absl::StrCat("the image is ", sides, "; the limit is ", limits.max_side, " pixels a side"));
  }
  if (header.width * header.height > limits.max_pixels) {
    return TooLargeError(absl::StrCat("the image is ", sides, " = ", header.width * header.height,
                                      " pixels; the limit is ", limits.max_pixels));
  }
  if (header.width < limits.min_side || header.height < limits.min_side) {
    return CorruptError(
        absl::StrCat("the image is ", sides, "; at least ", limits.min_side, " pixels a side are needed"));
  }
  return header;
}

}  // namespace diptych
