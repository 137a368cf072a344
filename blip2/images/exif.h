// The orientation in an image's metadata, read as Pillow reads it.
#pragma once

#include <optional>
#include <string_view>

namespace diptych::blip2 {

// EXIF's orientation: 1 is upright, 2 to 8 are the other seven ways to turn and mirror a rectangle.
inline constexpr int kUpright = 1;

// The orientation tag of the first directory of an EXIF block (a TIFF file, with or without "Exif\0\0" before it).
// kUpright if the tag is no number of 1 to 8 or the block is damaged before the tag; nullopt if the block is empty or
// whole and has no such tag. Never reads outside `exif`; looks at each of at most 65535 entries once.
std::optional<int> ExifOrientation(std::string_view exif);

// The same of an XMP packet: the digit of its first tiff:Orientation. nullopt if it has none.
std::optional<int> XmpOrientation(std::string_view xmp);

}  // namespace diptych::blip2
