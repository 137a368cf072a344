#include "blip2/images/png_chunks.h"

#include <zlib.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "common/images/jpeg_segments.h"

namespace diptych::blip2 {
namespace {

constexpr size_t kHeaderBytes = 13;
constexpr uint8_t kGrey = 0, kRgb = 2, kPalette = 3;

uint32_t Checksum(std::string_view bytes) {
  return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

bool IsName(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

std::string BigEndian(uint32_t number) {
  return {static_cast<char>(number >> 24), static_cast<char>(number >> 16), static_cast<char>(number >> 8),
          static_cast<char>(number)};
}

// A chunk's first eight bytes.
std::string Begin(std::string_view name, size_t payload_bytes) {
  return BigEndian(static_cast<uint32_t>(payload_bytes)).append(name);
}

// Stands for any checksum.
const std::string& NoChecksum() {
  static const std::string zeros(4, '\0');
  return zeros;
}

std::string Whole(std::string_view name, std::string_view payload) {
  return Begin(name, payload.size()).append(payload).append(NoChecksum());
}

// The chunks that count, before they are put into the stream.
struct PngParts {
  std::string_view header, palette, transparency;

  uint8_t color_type() const { return static_cast<uint8_t>(header[9]); }
  // False if no image can have the chunk.
  bool AddBeforeData(const PngChunk& chunk);
  void AddTransparency(std::string_view payload);
  std::string Join() const;
};

bool PngParts::AddBeforeData(const PngChunk& chunk) {
  if (!chunk.sound || chunk.name == "IEND" || header.empty() != (chunk.name == "IHDR")) return false;
  if (chunk.name == "IHDR") header = chunk.payload;
  if (chunk.name == "PLTE") palette = chunk.payload.substr(0, std::min<size_t>(chunk.payload.size() / 3, 256) * 3);
  if (chunk.name == "tRNS") AddTransparency(chunk.payload);
  return header.size() == kHeaderBytes;
}

// Leaves out a payload that is too short, cuts one that is too long: libpng would ignore both.
void PngParts::AddTransparency(std::string_view payload) {
  const size_t wanted = color_type() == kGrey ? 2 : color_type() == kRgb ? 6 : 0;
  if (color_type() == kPalette) transparency = payload;
  if (wanted > 0 && payload.size() >= wanted) transparency = payload.substr(0, wanted);
}

std::string PngParts::Join() const {
  const bool has_palette = color_type() == kPalette;
  const size_t entries = std::min(palette.size() / 3, size_t{1} << header[8]);
  const std::string_view alphas = has_palette ? transparency.substr(0, entries) : transparency;
  return Whole("IHDR", header) + (has_palette ? Whole("PLTE", palette) : "") +
         (alphas.empty() ? "" : Whole("tRNS", alphas));
}

}  // namespace

std::optional<PngChunk> PngChunks::Next(bool with_checksum) {
  constexpr size_t kBefore = 8, kChecksum = 4;  // length and name; what follows the payload
  if (rest_.size() < kBefore) return std::nullopt;
  const size_t length = BigEndianNumber(rest_, 0, 4);
  PngChunk chunk{.name = rest_.substr(4, 4), .payload = rest_.substr(kBefore, length)};
  if (!IsName(chunk.name)) return std::nullopt;
  chunk.whole = chunk.payload.size() == length;
  const size_t left = rest_.size() - kBefore - chunk.payload.size();
  chunk.sound = chunk.whole && left >= kChecksum;
  if (chunk.sound && with_checksum) {
    chunk.sound = Checksum(rest_.substr(4, 4 + length)) == BigEndianNumber(rest_, kBefore + length, 4);
  }
  rest_.remove_prefix(kBefore + chunk.payload.size() + std::min(left, kChecksum));
  return chunk;
}

std::optional<PngPixelStream> PngPixelStream::Open(std::string_view file) {
  PngPixelStream stream(file);
  PngParts parts;
  PngChunks chunks(file);
  std::optional<PngChunk> chunk = chunks.Next(/*with_checksum=*/true);
  for (; chunk && chunk->name != "IDAT"; chunk = chunks.Next(/*with_checksum=*/true)) {
    if (!parts.AddBeforeData(*chunk)) return std::nullopt;
  }
  if (!chunk || parts.header.empty() || (parts.color_type() == kPalette && parts.palette.empty())) return std::nullopt;
  stream.data_ = chunk->payload;
  stream.chunks_ = chunks;
  for (; chunk && chunk->whole && chunk->name != "IEND"; chunk = chunks.Next()) {
    if (chunk->name == "tRNS") parts.AddTransparency(chunk->payload);
  }
  stream.frame_ =
      std::string(file.substr(0, PngChunks::kSignatureBytes)) + parts.Join() + Begin("IDAT", stream.data_.size());
  return stream;
}

bool PngPixelStream::NextData() {
  const std::optional<PngChunk> next = chunks_.Next();
  if (!next || next->name != "IDAT") return false;
  data_ = next->payload;
  frame_ = NoChecksum() + Begin("IDAT", data_.size());
  frame_read_ = 0;
  return true;
}

bool PngPixelStream::Read(uint8_t* to, size_t count) {
  while (count > 0) {
    const std::string_view frame = std::string_view(frame_).substr(frame_read_);
    const std::string_view part = (frame.empty() ? data_ : frame).substr(0, count);
    if (part.empty() && !NextData()) return false;
    to = std::copy(part.begin(), part.end(), to);
    count -= part.size();
    if (frame.empty()) data_.remove_prefix(part.size());
    if (!frame.empty()) frame_read_ += part.size();
  }
  return true;
}

}  // namespace diptych::blip2
