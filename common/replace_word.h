#pragma once

#include <string>
#include <string_view>

namespace diptych {

// `text` with each whole word `from` replaced. Letters, digits and underscores of ASCII make words. Requires: `from` is
// not empty.
std::string ReplaceWord(std::string text, std::string_view from, std::string_view to);

}  // namespace diptych
