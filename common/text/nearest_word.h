#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace diptych {

// The word that `typed` was probably meant to be: few letters wrong, missing, doubled or swapped, or its beginning.
// Empty if none is near.
std::string NearestWord(std::string_view typed, const std::vector<std::string>& words);

}  // namespace diptych
