#include "blip2/images/gif.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "common/images/gif_frame.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

absl::Status GifDamaged() {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageCorrupt, "the GIF data is damaged or cut off");
}

using Color = std::array<uint8_t, 3>;

// True if every index of the palette is its own shade of grey: Pillow then reads the frame as grey.
bool IsGreyRamp(std::string_view palette) {
  for (size_t i = 0; i < palette.size(); ++i) {
    if (static_cast<uint8_t>(palette[i]) != i / 3) return false;
  }
  return true;
}

// The color of each index. As with Pillow, an index that the palette does not have is black; transparency shows white.
std::array<Color, 256> ColorsOf(const GifFrame& frame) {
  std::array<Color, 256> colors{};
  if (IsGreyRamp(frame.palette)) {
    for (size_t i = 0; i < colors.size(); ++i) colors[i].fill(static_cast<uint8_t>(i));
  } else {
    std::memcpy(colors.data(), frame.palette.data(), frame.palette.size());
  }
  if (frame.transparent >= 0) colors[frame.transparent].fill(255);
  return colors;
}

// Places a frame's pixels on the canvas in the order of the file.
class GifFrameWriter {
 public:
  GifFrameWriter(const GifFrame& frame, const std::array<Color, 256>& colors, RgbImage& image)
      : frame_(frame), colors_(colors), image_(image) {}

  bool full() const { return y_ >= frame_.height; }
  // Ignored once the frame is full.
  void Write(uint8_t index) {
    if (full()) return;
    const size_t at = static_cast<size_t>(frame_.top + y_) * image_.width + frame_.left + x_;
    std::memcpy(image_.pixels.data() + 3 * at, colors_[index].data(), 3);
    if (++x_ == frame_.width) NextRow();
  }
  int64_t rows() const { return rows_; }

 private:
  void NextRow();

  const GifFrame& frame_;
  const std::array<Color, 256>& colors_;
  RgbImage& image_;
  int64_t x_ = 0, y_ = 0, rows_ = 0;
  int pass_ = 0;
};

// Interlaced frames come in four passes: rows 0, 8, 16 …; 4, 12 …; 2, 6 …; 1, 3 ….
void GifFrameWriter::NextRow() {
  constexpr int kFirst[] = {0, 4, 2, 1}, kStep[] = {8, 8, 4, 2};
  x_ = 0;
  ++rows_;
  y_ += frame_.interlaced ? kStep[pass_] : 1;
  while (frame_.interlaced && y_ >= frame_.height && pass_ < 3) y_ = kFirst[++pass_];
}

// The codes of a frame: blocks of length 1 and payload, read as one stream of bits, the lowest first.
class LzwCodes {
 public:
  explicit LzwCodes(std::string_view blocks) : rest_(blocks) {}

  // The next code of so many bits; -1 where the blocks end.
  int Next(int bits) {
    while (bit_count_ < bits) {
      if (block_.empty() && !NextBlock()) return -1;
      bits_ |= static_cast<uint32_t>(static_cast<uint8_t>(block_.front())) << bit_count_;
      block_.remove_prefix(1);
      bit_count_ += 8;
    }
    const int code = static_cast<int>(bits_ & ((1u << bits) - 1));
    bits_ >>= bits;
    bit_count_ -= bits;
    return code;
  }

 private:
  // Passes over empty blocks, as Pillow does.
  bool NextBlock() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of('\0'), rest_.size()));
    if (rest_.empty()) return false;
    const size_t length = static_cast<uint8_t>(rest_.front());
    if (length >= rest_.size()) return false;
    block_ = rest_.substr(1, length);
    rest_.remove_prefix(1 + length);
    return true;
  }

  std::string_view rest_, block_;
  uint32_t bits_ = 0;
  int bit_count_ = 0;
};

// LZW as GIF has it: codes under `clear` are indices, those over clear + 1 strings of earlier ones and one index more.
class LzwStrings {
 public:
  explicit LzwStrings(int literal_bits) : clear_(1 << literal_bits), literal_bits_(literal_bits) { Reset(); }

  int clear() const { return clear_; }
  int end() const { return clear_ + 1; }
  int code_bits() const { return code_bits_; }
  void Reset() {
    next_ = clear_ + 2;
    code_bits_ = literal_bits_ + 1;
    last_ = -1;
  }
  // Writes what `code` stands for and learns a new string. False if the code can't stand here.
  bool Expand(int code, GifFrameWriter& writer);

 private:
  static constexpr int kMaxBits = 12;
  static constexpr int kMaxStrings = 1 << kMaxBits;

  void Learn(uint8_t first);

  const int clear_;
  const int literal_bits_;
  int next_, code_bits_, last_;
  uint8_t first_of_last_ = 0;
  std::array<uint16_t, kMaxStrings> prefix_;
  std::array<uint8_t, kMaxStrings> suffix_;
  std::array<uint8_t, kMaxStrings + 1> reversed_;
};

bool LzwStrings::Expand(int code, GifFrameWriter& writer) {
  if (last_ < 0 ? code >= clear_ : code > next_) return false;
  size_t length = 0;
  int rest = code;
  if (code == next_) {  // the string that is learned now
    reversed_[length++] = first_of_last_;
    rest = last_;
  }
  for (; rest >= clear_; rest = prefix_[rest]) reversed_[length++] = suffix_[rest];
  reversed_[length++] = first_of_last_ = static_cast<uint8_t>(rest);
  while (length > 0) writer.Write(reversed_[--length]);
  if (last_ >= 0) Learn(first_of_last_);
  last_ = code;
  return true;
}

void LzwStrings::Learn(uint8_t first) {
  if (next_ >= kMaxStrings) return;
  prefix_[next_] = static_cast<uint16_t>(last_);
  suffix_[next_] = first;
  if (++next_ == 1 << code_bits_ && code_bits_ < kMaxBits) ++code_bits_;
}

// `data` as in GifFrame.
absl::Status DecodeLzw(std::string_view data, GifFrameWriter& writer, const DecodeCheck& check) {
  constexpr int kMaxLiteralBits = 8;
  if (data.empty() || static_cast<uint8_t>(data[0]) > kMaxLiteralBits) return GifDamaged();
  LzwCodes codes(data.substr(1));
  LzwStrings strings(data[0]);
  for (int64_t checked_row = -1; !writer.full();) {
    if (std::exchange(checked_row, writer.rows()) != writer.rows()) DIPTYCH_RETURN_IF_ERROR(Ask(check));
    const int code = codes.Next(strings.code_bits());
    if (code < 0 || code == strings.end()) return GifDamaged();
    if (code == strings.clear()) {
      strings.Reset();
    } else if (!strings.Expand(code, writer)) {
      return GifDamaged();
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RgbImage> DecodeGif(std::string_view bytes, const ImageHeader& header, const DecodeCheck& check) {
  DIPTYCH_ASSIGN_OR_RETURN(const GifFrame frame, ReadGifFrame(bytes));
  const std::array<Color, 256> colors = ColorsOf(frame);
  RgbImage image{.width = static_cast<int>(header.width), .height = static_cast<int>(header.height), .pixels = {}};
  const Color around = frame.transparent >= 0 ? Color{255, 255, 255} : colors[0];
  image.pixels.resize(3 * static_cast<size_t>(header.width) * static_cast<size_t>(header.height));
  for (size_t i = 0; i < image.pixels.size(); i += 3) std::memcpy(image.pixels.data() + i, around.data(), 3);
  GifFrameWriter writer(frame, colors, image);
  DIPTYCH_RETURN_IF_ERROR(DecodeLzw(frame.data, writer, check));
  return image;
}

}  // namespace diptych::blip2
