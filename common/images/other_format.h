// What files that are no image here are in truth.
#pragma once

#include <string_view>

namespace diptych {

// What the bytes begin like and how to make an image of it, "HEIC: convert it"; empty if they are not recognised.
std::string_view OtherFormat(std::string_view bytes);

}  // namespace diptych
