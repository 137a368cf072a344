// The segments of a JPEG file before its first scan, found as Pillow finds them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace diptych {

// Big-endian number of `count` bytes. Requires: offset + count <= bytes.size(), count <= 4.
uint32_t BigEndianNumber(std::string_view bytes, size_t offset, int count);

struct JpegSegment {
  uint8_t marker;            // the byte after 0xFF
  std::string_view payload;  // without its length field
};

// Passes over fill bytes, stray bytes between segments and markers that have no segment. Thread-compatible.
class JpegSegments {
 public:
  // Requires: `bytes` begins with a start-of-image marker.
  explicit JpegSegments(std::string_view bytes) : bytes_(bytes), at_(2) {}

  // nullopt at the end: see cut_off().
  std::optional<JpegSegment> Next();

  // After nullopt: the file ended, as against a marker that JPEG does not define, or too many of them.
  bool cut_off() const { return cut_off_; }

 private:
  // The next marker that has a segment; at_ is then behind it.
  std::optional<uint8_t> NextMarker();

  const std::string_view bytes_;
  size_t at_;
  int markers_ = 0;
  bool cut_off_ = false;
};

}  // namespace diptych
