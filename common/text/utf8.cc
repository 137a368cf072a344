#include "common/text/utf8.h"

#include <algorithm>
#include <cstdint>

namespace diptych {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The start of a text: a whole character, a maximal subpart of an ill-formed one, or one
// that the end of the text cuts off.
enum class Kind { kWhole, kIllFormed, kUnfinished };

struct Unit {
  Kind kind = Kind::kIllFormed;
  size_t length = 1;  // bytes
};

// Requires: `text` is not empty.
Unit FirstUnit(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {Kind::kWhole, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Kind::kIllFormed, 1};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // Some leads narrow the second byte: no overlong forms, no surrogates, nothing above U+10FFFF.
  uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Kind::kUnfinished, i};
    if (byte(i) < low || byte(i) > high) return {Kind::kIllFormed, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Kind::kWhole, length};
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const Unit unit = FirstUnit(text);
    if (unit.kind != Kind::kWhole) return false;
    text.remove_prefix(unit.length);
  }
  return true;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Unit unit = FirstUnit(text);
    result += unit.kind == Kind::kWhole ? text.substr(0, unit.length) : kReplacement;
    text.remove_prefix(unit.length);
  }
  return result;
}

size_t UnfinishedUtf8Suffix(std::string_view text) {
  // A lead byte always opens a new unit, so the last one decides.
  for (size_t length = 1; length <= std::min<size_t>(3, text.size()); ++length) {
    const std::string_view suffix = text.substr(text.size() - length);
    const bool continuation = (static_cast<uint8_t>(suffix[0]) & 0xC0) == 0x80;
    if (!continuation) return FirstUnit(suffix).kind == Kind::kUnfinished ? length : 0;
  }
  return 0;
}

std::string ClipText(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  const std::string_view head = text.substr(0, bytes);
  return std::string(head.substr(0, head.size() - UnfinishedUtf8Suffix(head))) + "...";
}

std::string FirstLine(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

}  // namespace diptych
