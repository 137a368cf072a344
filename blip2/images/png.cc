#include "blip2/images/png.h"

#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "blip2/images/alpha.h"
#include "blip2/images/png_chunks.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

using Rgb = std::array<uint8_t, 3>;

// 16-bit samples (big endian) to bytes, in place, as Pillow turns 16-bit grey into RGB: clipped at 255.
void ClipSamples(png_bytep samples, size_t count) {
  for (size_t i = 0; i < count; ++i) samples[i] = samples[2 * i] == 0 ? samples[2 * i + 1] : 255;
}

// Shows pixels of the transparent color as white. Pillow compares pixels of 8 bits a sample.
void WhitenColor(const Rgb& transparent, std::vector<uint8_t>& pixels) {
  for (size_t i = 0; i + 2 < pixels.size(); i += 3) {
    if (std::equal(transparent.begin(), transparent.end(), pixels.begin() + i)) std::fill_n(pixels.begin() + i, 3, 255);
  }
}

constexpr size_t kDataBehindRows = 16 << 10;  // bytes

// Errors after the last row are ignored, as by Pillow. libpng reports errors by longjmp: the two
// methods that call it hold no object with a destructor.
class PngReader {
 public:
  PngReader(PngPixelStream stream, const DecodeCheck& check) : stream_(std::move(stream)), check_(check) {}
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  // Reads all before the pixels and asks for 8-bit RGB, with alpha where pixels may be transparent. False
  // if the file is damaged.
  bool Open();
  // Bytes of a pixel: 3, or 4 with alpha. Requires: Open() gave true.
  size_t channels() const { return channels_; }
  // The color whose pixels are transparent. Requires: Open() gave true.
  const std::optional<Rgb>& transparent_color() const { return transparent_color_; }

  // Fills `pixels`, channels() · width · height bytes. False if the file is damaged, ends early or has
  // other sides, or the check says stop. Requires: Open() gave true.
  bool Read(uint8_t* pixels, int64_t width, int64_t height);

  // The check's error, if that ended the reading.
  const absl::Status& status() const { return status_; }

 private:
  static void Copy(png_structp png, png_bytep to, size_t count);
  [[noreturn]] static void Fail(png_structp png, png_const_charp) {
    std::longjmp(static_cast<PngReader*>(png_get_error_ptr(png))->on_error_, 1);
  }
  static void Ignore(png_structp, png_const_charp) {}
  // Called by libpng last for each row.
  static void Finish(png_structp png, png_row_infop row, png_bytep samples);

  void AskForRgb();
  void TakeTransparentColor();
  bool MayGoOn();
  // libpng inflates what lies behind the last row for nothing: false if there is more than a little of it.
  bool CountData(size_t count);

  PngPixelStream stream_;
  const DecodeCheck& check_;
  absl::Status status_;
  bool clips_ = false;  // 16-bit grey
  bool at_last_row_ = false;
  bool has_all_rows_ = false;
  size_t data_left_ = 0;  // bytes that may come from the last row on
  std::jmp_buf on_error_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  size_t channels_ = 3;
  std::optional<Rgb> transparent_color_;
};

void PngReader::Copy(png_structp png, png_bytep to, size_t count) {
  PngReader& self = *static_cast<PngReader*>(png_get_io_ptr(png));
  if (!self.CountData(count) || !self.MayGoOn() || !self.stream_.Read(to, count)) png_error(png, "");
}

bool PngReader::CountData(size_t count) {
  if (!at_last_row_) return true;
  const bool allowed = count <= data_left_;
  if (allowed) data_left_ -= count;
  return allowed;
}

bool PngReader::MayGoOn() {
  status_ = Ask(check_);
  return status_.ok();
}

void PngReader::Finish(png_structp png, png_row_infop row, png_bytep samples) {
  PngReader& self = *static_cast<PngReader*>(png_get_user_transform_ptr(png));
  if (self.clips_) ClipSamples(samples, row->rowbytes / 2);
  self.has_all_rows_ = self.at_last_row_;
}

void PngReader::TakeTransparentColor() {
  png_color_16p color = nullptr;
  if (png_get_tRNS(png_, info_, nullptr, nullptr, &color) == 0 || color == nullptr) return;
  const bool grey = png_get_color_type(png_, info_) == PNG_COLOR_TYPE_GRAY;
  const bool two_shades = grey && png_get_bit_depth(png_, info_) == 1;
  const auto low_byte = [&](png_uint_16 sample) {
    return static_cast<uint8_t>(!two_shades ? sample : sample == 0 ? 0 : 255);
  };
  transparent_color_ = {low_byte(grey ? color->gray : color->red), low_byte(grey ? color->gray : color->green),
                        low_byte(grey ? color->gray : color->blue)};
}

void PngReader::AskForRgb() {
  const int type = png_get_color_type(png_, info_);
  const int bit_depth = png_get_bit_depth(png_, info_);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
  if (type == PNG_COLOR_TYPE_GRAY && bit_depth < 8) png_set_expand_gray_1_2_4_to_8(png_);
  if ((type & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png_);
  const bool transparent_entries = type == PNG_COLOR_TYPE_PALETTE && png_get_valid(png_, info_, PNG_INFO_tRNS) != 0;
  if (transparent_entries) png_set_tRNS_to_alpha(png_);
  if (transparent_entries || (type & PNG_COLOR_MASK_ALPHA) != 0) channels_ = 4;
  if (type != PNG_COLOR_TYPE_PALETTE) TakeTransparentColor();
  clips_ = bit_depth == 16 && type == PNG_COLOR_TYPE_GRAY;
  if (bit_depth == 16 && !clips_) png_set_strip_16(png_);  // keeps the high byte
  png_set_read_user_transform_fn(png_, Finish);
  png_set_user_transform_info(png_, this, clips_ ? 8 : 0, clips_ ? static_cast<int>(channels_) : 0);
}

bool PngReader::Open() {
  png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, Fail, Ignore);
  if (png_ == nullptr) return false;
  if (setjmp(on_error_) != 0) return false;
  info_ = png_create_info_struct(png_);
  if (info_ == nullptr) return false;
  png_set_read_fn(png_, this, Copy);
  png_set_crc_action(png_, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
  png_read_info(png_, info_);
  AskForRgb();
  return true;
}

bool PngReader::Read(uint8_t* pixels, int64_t width, int64_t height) {
  if (setjmp(on_error_) != 0) return has_all_rows_ && status_.ok();
  const int passes = png_set_interlace_handling(png_);
  png_read_update_info(png_, info_);
  const size_t row_bytes = channels_ * static_cast<size_t>(width);
  if (png_get_rowbytes(png_, info_) != row_bytes) return false;
  if (png_get_image_height(png_, info_) != static_cast<png_uint_32>(height)) return false;
  data_left_ = kDataBehindRows + 16 * static_cast<size_t>(width);  // twice a row of 8 bytes a pixel
  for (int pass = 0; pass < passes; ++pass) {
    for (int64_t y = 0; y < height; ++y) {
      if (!MayGoOn()) return false;
      at_last_row_ = pass == passes - 1 && y == height - 1;
      if (at_last_row_ && passes > 1 && y % 2 == 0) has_all_rows_ = true;  // the last pass is of odd rows
      png_read_row(png_, pixels + y * row_bytes, nullptr);
    }
  }
  return true;
}

absl::Status PngErrorOf(const absl::Status& status) {
  if (!status.ok()) return status;
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageCorrupt, "the PNG data is damaged or cut off");
}

}  // namespace

absl::StatusOr<RgbImage> DecodePng(std::string_view bytes, const ImageHeader& header, const DecodeCheck& check) {
  std::optional<PngPixelStream> stream = PngPixelStream::Open(bytes);
  if (!stream) return PngErrorOf(absl::OkStatus());
  PngReader reader(*std::move(stream), check);
  if (!reader.Open()) return PngErrorOf(reader.status());
  std::vector<uint8_t> pixels(reader.channels() * static_cast<size_t>(header.width * header.height));
  if (!reader.Read(pixels.data(), header.width, header.height)) return PngErrorOf(reader.status());
  if (reader.channels() == 4) pixels = OverWhite(std::move(pixels));
  if (reader.transparent_color()) WhitenColor(*reader.transparent_color(), pixels);
  return RgbImage{
      .width = static_cast<int>(header.width), .height = static_cast<int>(header.height), .pixels = std::move(pixels)};
}

absl::StatusOr<std::string> EncodePng(const RgbImage& image) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
  std::string file(size, '\0');
  if (png_image_write_to_memory(&png, file.data(), &size, /*convert_to_8bit=*/0, image.pixels.data(), /*row_stride=*/0,
                                /*colormap=*/nullptr) == 0) {
    return absl::InternalError("the image could not be written as PNG");
  }
  file.resize(size);
  file.shrink_to_fit();
  return file;
}

}  // namespace diptych::blip2
