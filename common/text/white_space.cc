#include "common/text/white_space.h"

#include <array>
#include <cstddef>

namespace diptych {
namespace {

// What Python's str.isspace() holds for white space: ASCII's, and these in UTF-8.
constexpr std::array<std::string_view, 19> kWideSpaces = {
    "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81", "\xE2\x80\x82", "\xE2\x80\x83",
    "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86", "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A",
    "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};

bool IsNarrowSpace(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1C' && c <= '\x1F');
}

// Bytes of the white-space character at the start of `text`, 0 if there is none.
size_t LeadingSpace(std::string_view text) {
  if (!text.empty() && IsNarrowSpace(text.front())) return 1;
  for (const std::string_view space : kWideSpaces) {
    if (text.substr(0, space.size()) == space) return space.size();
  }
  return 0;
}

size_t TrailingSpace(std::string_view text) {
  if (!text.empty() && IsNarrowSpace(text.back())) return 1;
  for (const std::string_view space : kWideSpaces) {
    if (text.size() >= space.size() && text.substr(text.size() - space.size()) == space) return space.size();
  }
  return 0;
}

}  // namespace

std::string_view StripLeft(std::string_view text) {
  while (const size_t space = LeadingSpace(text)) text.remove_prefix(space);
  return text;
}

std::string_view StripRight(std::string_view text) {
  while (const size_t space = TrailingSpace(text)) text.remove_suffix(space);
  return text;
}

}  // namespace diptych
