#include "common/images/image_file_name.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace diptych {

bool IsImageFileName(std::string_view name) {
  constexpr absl::string_view kEnds[] = {".jpg", ".jpeg", ".png",  ".webp", ".gif",
                                         ".bmp", ".tif",  ".tiff", ".heic", ".avif"};
  return std::any_of(std::begin(kEnds), std::end(kEnds), [&](absl::string_view end) {
    return absl::EndsWithIgnoreCase({name.data(), name.size()}, end);
  });
}

}  // namespace diptych
