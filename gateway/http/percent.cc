#include "gateway/http/percent.h"

#include "absl/strings/ascii.h"

namespace diptych::gateway {
namespace {

// The value of a hexadecimal digit; -1 for any other byte.
int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

void DecodePercent(std::string& text) {
  size_t to = 0;
  for (size_t from = 0; from < text.size(); ++from, ++to) {
    const bool escape = text[from] == '%' && from + 2 < text.size();
    const int high = escape ? HexValue(text[from + 1]) : -1;
    const int low = escape ? HexValue(text[from + 2]) : -1;
    text[to] = high >= 0 && low >= 0 ? static_cast<char>(high * 16 + low) : text[from];
    if (high >= 0 && low >= 0) from += 2;
  }
  text.resize(to);
}

}  // namespace diptych::gateway
