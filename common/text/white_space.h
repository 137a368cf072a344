// White space as Python's str.strip() takes it: Unicode's, too.
#pragma once

#include <string_view>

namespace diptych {

// UTF-8 `text` without the white space at its start.
std::string_view StripLeft(std::string_view text);
// The same at its end.
std::string_view StripRight(std::string_view text);

// Whether there is nothing else in it.
inline bool IsBlank(std::string_view text) {
  return StripLeft(text).empty();
}

}  // namespace diptych
