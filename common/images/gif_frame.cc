#include "common/images/gif_frame.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "common/status.h"

namespace diptych {
namespace {

absl::Status GifError(std::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageCorrupt, message);
}

absl::Status GifCutOff() {
  return GifError("the GIF ends before its first frame");
}

uint8_t ByteAt(std::string_view bytes, size_t at) {
  return static_cast<uint8_t>(bytes[at]);
}

int64_t LittleEndian16(std::string_view bytes, size_t at) {
  return ByteAt(bytes, at) | ByteAt(bytes, at + 1) << 8;
}

class GifReader {
 public:
  explicit GifReader(std::string_view bytes) : rest_(bytes) {}

  absl::StatusOr<GifFrame> Read();

 private:
  // The next `count` bytes; nullopt if there are fewer.
  std::optional<std::string_view> Take(size_t count) {
    if (count > rest_.size()) return std::nullopt;
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  // The color table that the flags of a screen or frame announce. False if the file ends within it.
  bool ReadPalette(uint8_t flags, std::string_view& palette);
  bool ReadExtension();
  absl::StatusOr<GifFrame> ReadFrame();

  std::string_view rest_;
  GifFrame frame_;
};

bool GifReader::ReadPalette(uint8_t flags, std::string_view& palette) {
  if ((flags & 0x80) == 0) return true;
  const auto colors = Take(size_t{3} << ((flags & 7) + 1));
  palette = colors.value_or("");
  return colors.has_value();
}

// Label 1, then blocks of length 1 and payload; an empty one is the last.
bool GifReader::ReadExtension() {
  constexpr uint8_t kGraphicControl = 0xF9;
  const auto label = Take(1);
  if (!label) return false;
  for (bool first = true;; first = false) {
    const auto length = Take(1);
    if (!length) return false;
    if (ByteAt(*length, 0) == 0) return true;
    const auto block = Take(ByteAt(*length, 0));
    if (!block) return false;
    const bool control = first && ByteAt(*label, 0) == kGraphicControl && block->size() >= 4;
    if (control && (ByteAt(*block, 0) & 1) != 0) frame_.transparent = ByteAt(*block, 3);
  }
}

// Left 2, top 2, width 2, height 2, flags 1, color table, code size 1, data.
absl::StatusOr<GifFrame> GifReader::ReadFrame() {
  const auto place = Take(9);
  if (!place) return GifCutOff();
  frame_.left = LittleEndian16(*place, 0);
  frame_.top = LittleEndian16(*place, 2);
  frame_.width = LittleEndian16(*place, 4);
  frame_.height = LittleEndian16(*place, 6);
  if (frame_.width == 0 || frame_.height == 0) return GifError("the GIF's first frame has no pixels");
  frame_.canvas_width = std::max(frame_.canvas_width, frame_.left + frame_.width);
  frame_.canvas_height = std::max(frame_.canvas_height, frame_.top + frame_.height);
  const uint8_t flags = ByteAt(*place, 8);
  frame_.interlaced = (flags & 0x40) != 0;
  if (!ReadPalette(flags, frame_.palette)) return GifCutOff();
  frame_.data = rest_;
  return frame_;
}

// Signature 6, width 2, height 2, flags 1, background 1, aspect 1. Bytes between blocks that begin none are passed
// over.
absl::StatusOr<GifFrame> GifReader::Read() {
  const auto screen = Take(13);
  if (!screen) return GifCutOff();
  frame_.canvas_width = LittleEndian16(*screen, 6);
  frame_.canvas_height = LittleEndian16(*screen, 8);
  if (!ReadPalette(ByteAt(*screen, 10), frame_.palette)) return GifCutOff();
  while (const auto introducer = Take(1)) {
    if (*introducer == ",") return ReadFrame();
    if (*introducer == ";") return GifError("the GIF holds no frame");
    if (*introducer == "!" && !ReadExtension()) return GifCutOff();
  }
  return GifCutOff();
}

}  // namespace

absl::StatusOr<GifFrame> ReadGifFrame(std::string_view bytes) {
  return GifReader(bytes).Read();
}

}  // namespace diptych
