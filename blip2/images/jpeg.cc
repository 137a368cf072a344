#include "blip2/images/jpeg.h"

#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>  // jpeglib.h needs it
#include <vector>

#include "common/status.h"

namespace diptych::blip2 {
namespace {

// A photo has one scan, or about ten if it is progressive.
constexpr int kMaxScans = 500;
// Scans times pixels of the image: 40 scans of 50 million pixels.
constexpr int64_t kMaxScannedPixels = 2'000'000'000;

// The divisor of the sides: 1, 2, 4 or 8, for which libjpeg has transforms of their own.
int Divisor(const ImageHeader& header, int least_side) {
  const int64_t shorter = std::min(header.width, header.height);
  int divisor = 1;
  while (least_side > 0 && divisor < 8 && shorter >= int64_t{2} * divisor * least_side) divisor *= 2;
  return divisor;
}

uint8_t ClipToByte(int value) {
  return static_cast<uint8_t>(std::clamp(value, 0, 255));
}

// Rounded a * b / 255, as Pillow's MULDIV255 does it.
int MultiplyBytes(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

// CMYK to RGB. Like Pillow, takes the inks as stored inverted (Adobe's way) whether or not the file has Adobe's marker.
void CmykToRgb(const std::vector<uint8_t>& cmyk, uint8_t* rgb) {
  for (size_t i = 0; i + 3 < cmyk.size(); i += 4, rgb += 3) {
    const int white = cmyk[i + 3];  // 255 − black
    for (size_t c = 0; c < 3; ++c) rgb[c] = ClipToByte(white - MultiplyBytes(255 - cmyk[i + c], white));
  }
}

// Reads as Pillow has libjpeg read: damage is passed over with libjpeg's warning, and only a file that ends before the
// last row is cut off. libjpeg reports errors by longjmp: the method that calls it holds no object with a destructor.
class JpegReader {
 public:
  JpegReader(std::string_view bytes, const ImageHeader& header, const DecodeCheck& check, int divisor);
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }

  // Of the image that Read gives.
  int width() const { return static_cast<int>((header_.width + divisor_ - 1) / divisor_); }
  int height() const { return static_cast<int>((header_.height + divisor_ - 1) / divisor_); }

  // Fills `pixels`, 3 · width() · height() bytes. Once.
  absl::Status Read(uint8_t* pixels);

 private:
  // libjpeg's callbacks; `client_data` is this.
  static JpegReader& Self(j_common_ptr jpeg) { return *static_cast<JpegReader*>(jpeg->client_data); }
  [[noreturn]] static void Fail(j_common_ptr jpeg) { std::longjmp(Self(jpeg).on_error_, 1); }
  static void Ignore(j_common_ptr) {}
  static void IgnoreMessage(j_common_ptr, int) {}
  static void Nothing(j_decompress_ptr) {}
  // The whole file is in memory: reading beyond it means that the file is cut off.
  static boolean Refill(j_decompress_ptr) { return FALSE; }
  static void Skip(j_decompress_ptr jpeg, long count);
  static void Progress(j_common_ptr jpeg);

  // Each false if the file is damaged or cut off, or the check says stop.
  bool ReadRows(uint8_t* pixels);
  bool ReadHeader();
  bool ReadRow(uint8_t* to);
  // False, and status_ set, if the scans are too many or the check says stop.
  bool MayGoOn();

  const ImageHeader header_;
  const DecodeCheck& check_;
  const int divisor_;
  absl::Status status_;
  std::vector<uint8_t> inks_;  // one row, if the file has four channels
  std::jmp_buf on_error_;
  jpeg_error_mgr errors_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
  jpeg_decompress_struct jpeg_{};
};

JpegReader::JpegReader(std::string_view bytes, const ImageHeader& header, const DecodeCheck& check, int divisor)
    : header_(header), check_(check), divisor_(divisor) {
  if (header.channels == 4) inks_.resize(4 * static_cast<size_t>(width()));
  jpeg_.err = jpeg_std_error(&errors_);
  errors_.error_exit = Fail;
  errors_.output_message = Ignore;
  errors_.emit_message = IgnoreMessage;
  jpeg_.client_data = this;
  source_.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  source_.bytes_in_buffer = bytes.size();
  source_.init_source = Nothing;
  source_.term_source = Nothing;
  source_.fill_input_buffer = Refill;
  source_.skip_input_data = Skip;
  source_.resync_to_restart = jpeg_resync_to_restart;
  progress_.progress_monitor = Progress;
}

void JpegReader::Skip(j_decompress_ptr jpeg, long count) {
  const size_t skipped = std::min(static_cast<size_t>(std::max(count, 0l)), jpeg->src->bytes_in_buffer);
  jpeg->src->next_input_byte += skipped;
  jpeg->src->bytes_in_buffer -= skipped;
}

void JpegReader::Progress(j_common_ptr jpeg) {
  if (!Self(jpeg).MayGoOn()) Fail(jpeg);
}

bool JpegReader::MayGoOn() {
  const int64_t scans = jpeg_.input_scan_number;
  if (scans > kMaxScans || scans * header_.width * header_.height > kMaxScannedPixels) {
    status_ = MakeError(absl::StatusCode::kInvalidArgument, reason::kImageTooLarge,
                        "the JPEG has more scans than an image of its size may cost");
  } else {
    status_ = Ask(check_);
  }
  return status_.ok();
}

absl::Status JpegReader::Read(uint8_t* pixels) {
  if (ReadRows(pixels)) return absl::OkStatus();
  if (!status_.ok()) return status_;
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageCorrupt, "the JPEG data is damaged or cut off");
}

bool JpegReader::ReadRows(uint8_t* pixels) {
  if (setjmp(on_error_) != 0) return false;
  jpeg_create_decompress(&jpeg_);
  jpeg_.src = &source_;
  jpeg_.progress = &progress_;
  if (!ReadHeader() || jpeg_start_decompress(&jpeg_) == FALSE) return false;
  const size_t row_bytes = 3 * static_cast<size_t>(width());
  for (int y = 0; y < height(); ++y) {
    if (!ReadRow(pixels + static_cast<size_t>(y) * row_bytes)) return false;
  }
  jpeg_finish_decompress(&jpeg_);  // an error behind the last row counts, a missing end does not
  return true;
}

bool JpegReader::ReadHeader() {
  int found = 0;
  do {
    found = jpeg_read_header(&jpeg_, /*require_image=*/FALSE);
  } while (found == JPEG_HEADER_TABLES_ONLY);
  if (found != JPEG_HEADER_OK) return false;
  jpeg_.out_color_space = inks_.empty() ? JCS_RGB : JCS_CMYK;
  jpeg_.scale_denom = static_cast<unsigned>(divisor_);
  jpeg_calc_output_dimensions(&jpeg_);
  return jpeg_.image_width == header_.width && jpeg_.image_height == header_.height &&
         jpeg_.num_components == header_.channels && jpeg_.output_width == static_cast<unsigned>(width()) &&
         jpeg_.output_height == static_cast<unsigned>(height());
}

bool JpegReader::ReadRow(uint8_t* to) {
  uint8_t* row = inks_.empty() ? to : inks_.data();
  if (jpeg_read_scanlines(&jpeg_, &row, 1) != 1) return false;
  if (!inks_.empty()) CmykToRgb(inks_, to);
  return true;
}

}  // namespace

absl::StatusOr<RgbImage> DecodeJpeg(std::string_view bytes, const ImageHeader& header, const DecodeCheck& check,
                                    int least_side) {
  JpegReader reader(bytes, header, check, Divisor(header, least_side));
  RgbImage image{.width = reader.width(), .height = reader.height(), .pixels = {}};
  image.pixels.resize(3 * static_cast<size_t>(image.width) * static_cast<size_t>(image.height));
  DIPTYCH_RETURN_IF_ERROR(reader.Read(image.pixels.data()));
  return image;
}

}  // namespace diptych::blip2
