#include "common/text/json_input.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text/strict_json.h"
#include "common/text/utf8.h"

namespace diptych {
namespace {

using nlohmann::json;

// More characters than any number of ours. The parser keeps a number's text several times over.
constexpr size_t kMaxNumberBytes = 1024;

// The end of the string that begins at `begin`, a quotation mark.
size_t EndOfString(std::string_view text, size_t begin) {
  size_t at = text.find_first_of("\"\\", begin + 1);
  while (at < text.size() && text[at] == '\\') at = text.find_first_of("\"\\", std::min(at + 2, text.size()));
  return std::min(at, text.size());
}

bool HasLongNumber(std::string_view text) {
  size_t begin = 0;  // of the number at `at`
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '"') at = EndOfString(text, at);
    const bool in_number = at < text.size() && text[at] >= '+' && text[at] <= '9' && text[at] != ',' && text[at] != '/';
    if (!in_number) begin = at + 1;
    if (at + 1 - begin > kMaxNumberBytes) return true;
  }
  return false;
}

// What is commonly wrong where `text` stops being JSON: at a byte counted from 1. Empty if it is nothing of that.
const char* Hint(std::string_view text, size_t byte) {
  if (byte == 0 || byte > text.size()) return "; it ends too early";
  const std::string_view rest = text.substr(byte - 1);
  const size_t before = text.substr(0, byte - 1).find_last_not_of(" \t\r\n");
  const auto begins = [rest](auto... words) { return (rest.starts_with(words) || ...); };
  if (begins("'")) return "; names and strings stand in double quotes";
  if (begins("NaN", "Infinity", "inf")) return "; NaN and Infinity are not numbers of JSON";
  if (begins("None", "True", "False")) return "; JSON has null, true and false";
  if (begins("//", "/*", "#")) return "; JSON has no comments";
  if (begins("]", "}") && before != text.npos && text[before] == ',') return "; remove the comma before it";
  if (begins("\n", "\r")) return "; a line break in a string is written \\n";
  return IsValidUtf8(text) ? "" : "; it is not UTF-8";
}

std::string Explain(std::string_view text, const JsonFault& fault, const JsonCounts& most) {
  switch (fault.kind) {
    case JsonFault::Kind::kSyntax:
      return fault.byte ? absl::StrCat("is not JSON: error at byte ", *fault.byte, Hint(text, *fault.byte))
                        : "is not JSON";
    case JsonFault::Kind::kDepth:
      return absl::StrCat("is refused: it is nested deeper than ", kMaxJsonDepth);
    case JsonFault::Kind::kValues:
      return absl::StrCat("is refused: it has more than ", most.values, " values and keys");
    case JsonFault::Kind::kNumbers:
      return absl::StrCat("is refused: it has more than ", most.numbers, " numbers in lists");
    case JsonFault::Kind::kRepeatedKey:
      return "is refused: an object names one key twice";
  }
  return "is refused";
}

absl::Status NotTaken(absl::string_view what, absl::string_view why) {
  return MakeError(absl::StatusCode::kInvalidArgument, kInvalidJson, absl::StrCat(what, " ", why));
}

}  // namespace

absl::StatusOr<json> ParseJsonObject(std::string_view text, std::string_view what, const JsonCounts& most) {
  const absl::string_view name(what.data(), what.size());
  if (text.find_first_not_of(" \t\r\n") == text.npos) return NotTaken(name, "is empty; a JSON object is wanted");
  if (HasLongNumber(text)) return NotTaken(name, "is refused: it has too long a number");
  json value;
  const JsonBounds bounds{.max_depth = kMaxJsonDepth,
                          .max_values = static_cast<size_t>(most.values),
                          .max_numbers = static_cast<size_t>(most.numbers)};
  const auto fault = ReadStrictJson(text, bounds, value);
  if (fault) return NotTaken(name, Explain(text, *fault, most));
  if (!value.is_object()) return NotTaken(name, "is not a JSON object");
  return value;
}

}  // namespace diptych
