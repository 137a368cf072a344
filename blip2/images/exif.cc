#include "blip2/images/exif.h"

#include <bit>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace diptych::blip2 {
namespace {

constexpr uint16_t kOrientationTag = 0x0112;
constexpr size_t kEntryBytes = 12;  // tag 2, type 2, count 4, value or offset 4

enum TiffType : uint16_t {
  kShort = 3,
  kLong = 4,
  kRational = 5,
  kSignedByte = 6,
  kSignedShort = 8,
  kSignedLong = 9,
  kSignedRational = 10,
  kFloat = 11,
  kDouble = 12,
  kIfd = 13,
  kLong8 = 16,
};

// Bytes of one value, 0 for types that Pillow does not know.
uint64_t UnitBytes(uint16_t type) {
  constexpr uint8_t kBytes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
  return type < std::size(kBytes) ? kBytes[type] : 0;
}

// The bytes of a TIFF file in its byte order.
struct Tiff {
  std::string_view bytes;
  bool big_endian;

  bool Has(uint64_t offset, uint64_t count) const { return offset <= bytes.size() && count <= bytes.size() - offset; }
  // Requires: Has(offset, count), count <= 8.
  uint64_t Number(uint64_t offset, int count) const {
    uint64_t value = 0;
    for (int i = 0; i < count; ++i) {
      const int at = big_endian ? i : count - 1 - i;
      value = value << 8 | static_cast<uint8_t>(bytes[offset + at]);
    }
    return value;
  }
};

struct TiffEntry {
  uint16_t tag;
  uint16_t type;
  uint64_t size;    // bytes of all values
  uint64_t offset;  // where they are
};

TiffEntry ReadTiffEntry(const Tiff& tiff, uint64_t at) {
  const auto type = static_cast<uint16_t>(tiff.Number(at + 2, 2));
  const uint64_t size = UnitBytes(type) * tiff.Number(at + 4, 4);
  return {.tag = static_cast<uint16_t>(tiff.Number(at, 2)),
          .type = type,
          .size = size,
          .offset = size > 4 ? tiff.Number(at + 8, 4) : at + 8};
}

int WholeRatio(int64_t numerator, int64_t denominator) {
  return denominator != 0 && numerator % denominator == 0 ? static_cast<int>(numerator / denominator) : kUpright;
}

int FirstRational(const Tiff& tiff, uint64_t at, bool is_signed) {
  const auto numerator = static_cast<uint32_t>(tiff.Number(at, 4));
  const auto denominator = static_cast<uint32_t>(tiff.Number(at + 4, 4));
  if (!is_signed) return WholeRatio(numerator, denominator);
  return WholeRatio(static_cast<int32_t>(numerator), static_cast<int32_t>(denominator));
}

// The first value of an entry as a whole number; kUpright if it is none. Requires: the values are inside the file.
int64_t FirstNumber(const Tiff& tiff, const TiffEntry& entry) {
  const uint64_t at = entry.offset;
  switch (entry.type) {
    case kSignedByte:
      return static_cast<int8_t>(tiff.Number(at, 1));
    case kShort:
      return static_cast<int64_t>(tiff.Number(at, 2));
    case kSignedShort:
      return static_cast<int16_t>(tiff.Number(at, 2));
    case kLong:
    case kIfd:
      return static_cast<int64_t>(tiff.Number(at, 4));
    case kSignedLong:
      return static_cast<int32_t>(tiff.Number(at, 4));
    case kLong8:
      return static_cast<int64_t>(tiff.Number(at, 8));
    case kRational:
    case kSignedRational:
      return FirstRational(tiff, at, entry.type == kSignedRational);
    default:
      return kUpright;
  }
}

int64_t WholeNumber(double value) {
  return value >= 1 && value <= 8 && value == static_cast<int>(value) ? static_cast<int>(value) : kUpright;
}

int OrientationIn(const Tiff& tiff, const TiffEntry& entry) {
  int64_t value = 0;
  if (entry.type == kFloat) {
    value = WholeNumber(std::bit_cast<float>(static_cast<uint32_t>(tiff.Number(entry.offset, 4))));
  } else if (entry.type == kDouble) {
    value = WholeNumber(std::bit_cast<double>(tiff.Number(entry.offset, 8)));
  } else {
    value = FirstNumber(tiff, entry);
  }
  return value >= 1 && value <= 8 ? static_cast<int>(value) : kUpright;
}

// Walks the directory at `at`. A value outside the file ends the walk; passed over are values that are larger than the
// file together, types that are not known, and all but a tag's first entry.
std::optional<int> FindOrientation(const Tiff& tiff, uint64_t at) {
  if (!tiff.Has(at, 2)) return std::nullopt;
  const uint64_t entries = tiff.Number(at, 2);
  at += 2;
  uint64_t outside_bytes = 0;
  std::bitset<1 << 16> seen;
  for (uint64_t i = 0; i < entries && tiff.Has(at, kEntryBytes); ++i, at += kEntryBytes) {
    const TiffEntry entry = ReadTiffEntry(tiff, at);
    if (entry.size == 0 || seen[entry.tag]) continue;
    if (entry.size > 4) {
      outside_bytes += entry.size;
      if (outside_bytes > tiff.bytes.size()) continue;
      if (!tiff.Has(entry.offset, entry.size)) return std::nullopt;
    }
    if (entry.tag == kOrientationTag) return OrientationIn(tiff, entry);
    seen[entry.tag] = true;
  }
  return std::nullopt;
}

// "II" or "MM", then 42 in either order; BigTIFF's 43 only as Pillow takes it for the smaller kind.
bool IsTiff(std::string_view bytes) {
  using namespace std::string_view_literals;  // NOLINT
  const std::string_view magic = bytes.substr(0, 4);
  return bytes.size() >= 8 &&
         (magic == "MM\0*"sv || magic == "II*\0"sv || magic == "MM*\0"sv || magic == "II\0*"sv || magic == "MM\0+"sv);
}

}  // namespace

std::optional<int> ExifOrientation(std::string_view exif) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  std::string_view rest = exif;
  for (int i = 0; i < 2 && rest.starts_with(kPrefix); ++i) rest.remove_prefix(kPrefix.size());
  if (rest.empty()) return std::nullopt;
  if (!IsTiff(rest)) return kUpright;
  const Tiff tiff{.bytes = rest, .big_endian = rest[0] == 'M'};
  return FindOrientation(tiff, tiff.Number(4, 4));
}

std::optional<int> XmpOrientation(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (size_t at = xmp.find(kName); at != std::string_view::npos; at = xmp.find(kName, at + 1)) {
    std::string_view rest = xmp.substr(at + kName.size());
    const size_t quote = rest.starts_with("=\"") ? 2 : rest.starts_with(">") ? 1 : 0;
    if (quote == 0 || quote >= rest.size()) continue;
    rest.remove_prefix(quote);
    if (rest[0] < '0' || rest[0] > '9') continue;
    return rest[0] >= '1' && rest[0] <= '8' ? rest[0] - '0' : kUpright;
  }
  return std::nullopt;
}

}  // namespace diptych::blip2
