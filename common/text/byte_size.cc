#include "common/text/byte_size.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace diptych {
namespace {

constexpr absl::string_view kUnits[] = {"k", "m", "g", "t"};

// 1 for no unit.
std::optional<double> FactorOf(absl::string_view unit) {
  if (unit.empty() || absl::EqualsIgnoreCase(unit, "b")) return 1;
  double binary = 1, decimal = 1;
  for (const absl::string_view letter : kUnits) {
    binary *= 1024;
    decimal *= 1000;
    if (absl::EqualsIgnoreCase(unit, letter) || absl::EqualsIgnoreCase(unit, absl::StrCat(letter, "ib"))) return binary;
    if (absl::EqualsIgnoreCase(unit, absl::StrCat(letter, "b"))) return decimal;
  }
  return std::nullopt;
}

}  // namespace

bool AbslParseFlag(absl::string_view text, ByteSize* size, std::string* error) {
  text = absl::StripAsciiWhitespace(text);
  if (absl::SimpleAtoi(text, &size->bytes)) return true;
  const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::optional<double> factor = FactorOf(absl::StripLeadingAsciiWhitespace(text.substr(end)));
  double number = 0;
  constexpr double kOver = 9223372036854775808.0;  // 2^63
  if (factor && absl::SimpleAtod(text.substr(0, end), &number) && number * *factor < kOver) {
    size->bytes = static_cast<int64_t>(std::llround(number * *factor));
    return true;
  }
  *error = "takes a number of bytes, with a unit if wanted: 268435456, 256MiB, 4GiB, 512MB";
  return false;
}

std::string AbslUnparseFlag(ByteSize size) {
  int64_t number = size.bytes;
  absl::string_view unit;
  for (const absl::string_view letter : {"KiB", "MiB", "GiB", "TiB"}) {
    if (number == 0 || number % 1024 != 0) break;
    number /= 1024;
    unit = letter;
  }
  return absl::StrCat(number, unit);
}

}  // namespace diptych
