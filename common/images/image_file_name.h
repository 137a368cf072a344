// Names of image files, whether this server reads their format or not.
#pragma once

#include <string_view>

namespace diptych {

// "photo.JPG", "/a/b.heic": whether the name ends as that of an image file.
bool IsImageFileName(std::string_view name);

}  // namespace diptych
