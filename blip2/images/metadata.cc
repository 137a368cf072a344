#include "blip2/images/metadata.h"

#include <webp/demux.h>
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "blip2/images/png_chunks.h"
#include "common/images/jpeg_segments.h"

namespace diptych::blip2 {
namespace {

using namespace std::string_view_literals;  // NOLINT

constexpr auto kExifPrefix = "Exif\0\0"sv;

ImageMetadata ReadJpeg(std::string_view bytes) {
  constexpr auto kXmpPrefix = "http://ns.adobe.com/xap/1.0/\0"sv;
  constexpr uint8_t kApp1 = 0xE1, kStartOfScan = 0xDA;
  ImageMetadata metadata;
  JpegSegments segments(bytes);
  while (const auto segment = segments.Next()) {
    if (segment->marker == kStartOfScan) break;
    if (segment->marker != kApp1) continue;
    const std::string_view payload = segment->payload;
    if (payload.starts_with(kExifPrefix)) {
      metadata.exif += metadata.exif.empty() ? payload : payload.substr(kExifPrefix.size());
    } else if (payload.starts_with(kXmpPrefix)) {
      metadata.xmp = payload.substr(kXmpPrefix.size());
    }
  }
  return metadata;
}

// Text of a PNG as it stands behind its keyword.
struct PngText {
  std::string_view keyword;
  std::string_view text;
  bool compressed = false;
};

// Removes what stands before the first zero byte and that byte from `rest`, and returns it.
std::optional<std::string_view> TakeField(std::string_view& rest) {
  const size_t end = rest.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view field = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return field;
}

std::optional<PngText> SplitText(std::string_view type, std::string_view chunk) {
  const auto keyword = TakeField(chunk);
  if (!keyword) return std::nullopt;
  if (type == "tEXt") return PngText{*keyword, chunk};
  if (type == "zTXt") {
    if (chunk.empty() || chunk[0] != 0) return std::nullopt;
    return PngText{*keyword, chunk.substr(1), true};
  }
  if (chunk.size() < 2) return std::nullopt;  // iTXt: compressed or not, how, language, translated keyword, text
  const bool compressed = chunk[0] != 0;
  if (compressed && chunk[1] != 0) return std::nullopt;
  chunk.remove_prefix(2);
  if (!TakeField(chunk) || !TakeField(chunk)) return std::nullopt;
  return PngText{*keyword, chunk, compressed};
}

// Its readable part: a stream that is cut off gives its beginning.
std::string Inflate(std::string_view compressed) {
  constexpr size_t kMaxText = 1 << 20;
  std::string text(kMaxText, '\0');
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  if (inflateInit(&stream) != Z_OK) return "";
  const int result = inflate(&stream, Z_SYNC_FLUSH);
  const bool fits = result == Z_STREAM_END || (stream.avail_out > 0 && (result == Z_OK || result == Z_BUF_ERROR));
  text.resize(fits ? stream.total_out : 0);
  inflateEnd(&stream);
  return text;
}

// ImageMagick's form: a blank line, a name, a length, then the block in hexadecimal digits.
std::string FromRawProfile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return "";
    text.remove_prefix(end + 1);
  }
  std::string digits;
  for (const char c : text) {
    if (absl::ascii_isspace(static_cast<unsigned char>(c))) continue;
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return "";
    digits += c;
  }
  return digits.size() % 2 == 0 ? absl::HexStringToBytes(digits) : "";
}

std::string ReadText(const std::optional<PngText>& text) {
  if (!text) return "";
  return text->compressed ? Inflate(text->text) : std::string(text->text);
}

// The chunks that count: of each kind the last, so that no more than two are inflated.
struct PngMetadata {
  std::string_view exif;
  std::optional<PngText> profile, xmp;

  void Add(std::string_view type, std::string_view chunk) {
    if (type == "eXIf") exif = chunk;
    if (type != "tEXt" && type != "zTXt" && type != "iTXt") return;
    const auto text = SplitText(type, chunk);
    if (text && text->keyword == "XML:com.adobe.xmp") xmp = text;
    if (text && text->keyword == "Raw profile type exif") profile = text;
  }
};

ImageMetadata ReadPng(std::string_view bytes) {
  PngMetadata found;
  PngChunks chunks(bytes);
  while (const auto chunk = chunks.Next()) {
    if (!chunk->whole || chunk->name == "IEND") break;
    found.Add(chunk->name, chunk->payload);
  }
  return {.exif = found.exif.empty() ? FromRawProfile(ReadText(found.profile)) : std::string(found.exif),
          .xmp = ReadText(found.xmp)};
}

struct DeleteDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};

std::string WebpChunk(const WebPDemuxer& demuxer, const char* name) {
  WebPChunkIterator chunk{};
  std::string payload;
  if (WebPDemuxGetChunk(&demuxer, name, 1, &chunk) != 0) {
    payload.assign(reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size);
  }
  WebPDemuxReleaseChunkIterator(&chunk);
  return payload;
}

ImageMetadata ReadWebp(std::string_view bytes) {
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const std::unique_ptr<WebPDemuxer, DeleteDemuxer> demuxer(WebPDemux(&data));
  if (demuxer == nullptr) return {};
  return {.exif = WebpChunk(*demuxer, "EXIF"), .xmp = WebpChunk(*demuxer, "XMP ")};
}

}  // namespace

ImageMetadata ReadMetadata(std::string_view bytes, ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg:
      return ReadJpeg(bytes);
    case ImageFormat::kPng:
      return ReadPng(bytes);
    case ImageFormat::kWebp:
      return ReadWebp(bytes);
    default:
      return {};
  }
}

}  // namespace diptych::blip2
