#include "common/images/jpeg_segments.h"

#include <algorithm>

namespace diptych {
namespace {

constexpr int kMaxMarkers = 1 << 16;  // a photo has 10 to 100

bool HasSegment(uint8_t marker) {
  const bool restart_or_image_end = marker >= 0xD0 && marker <= 0xD9;
  const bool reserved = marker == 0xC8 || (marker >= 0xF0 && marker <= 0xFD);
  return !restart_or_image_end && !reserved;
}

}  // namespace

uint32_t BigEndianNumber(std::string_view bytes, size_t offset, int count) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | static_cast<uint8_t>(bytes[offset + i]);
  return value;
}

std::optional<uint8_t> JpegSegments::NextMarker() {
  constexpr char kMarker = '\xff';
  for (; markers_ < kMaxMarkers; ++markers_) {
    at_ = bytes_.find_first_not_of(kMarker, std::min(bytes_.find(kMarker, at_), bytes_.size()));
    cut_off_ = at_ == std::string_view::npos;
    if (cut_off_) return std::nullopt;
    const auto marker = static_cast<uint8_t>(bytes_[at_++]);
    if (marker != 0 && marker < 0xC0) return std::nullopt;
    if (marker != 0 && HasSegment(marker)) return marker;
  }
  return std::nullopt;
}

std::optional<JpegSegment> JpegSegments::Next() {
  const std::optional<uint8_t> marker = NextMarker();
  if (!marker) return std::nullopt;
  cut_off_ = at_ + 2 > bytes_.size();
  if (cut_off_) return std::nullopt;
  const size_t length = std::max(BigEndianNumber(bytes_, at_, 2), 2u);
  cut_off_ = length > bytes_.size() - at_;
  if (cut_off_) return std::nullopt;
  const std::string_view payload = bytes_.substr(at_ + 2, length - 2);
  at_ += length;
  ++markers_;
  return JpegSegment{.marker = *marker, .payload = payload};
}

}  // namespace diptych
