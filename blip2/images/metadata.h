// Finds the metadata in files of each image format.
#pragma once

#include <string>
#include <string_view>

#include "common/images/image_header.h"

namespace diptych::blip2 {

// Empty where the file has none.
struct ImageMetadata {
  std::string exif;
  std::string xmp;
};

// Finds what Pillow finds: of a JPEG all EXIF segments joined and the last XMP segment before the first scan; of a PNG
// the last eXIf chunk, or else the text "Raw profile type exif", and the text "XML:com.adobe.xmp", wherever they stand;
// of a WebP the chunks that its header announces. Compressed text over 1 MiB counts as none. Never fails; time and
// memory are linear in the file. Thread-safe.
ImageMetadata ReadMetadata(std::string_view bytes, ImageFormat format);

}  // namespace diptych::blip2
