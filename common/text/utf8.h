// UTF-8 from outside: is it well formed, and what to show where it is not. Unicode 15, section 3.9.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace diptych {

// True if `text` is well-formed UTF-8 (no surrogates, no overlong forms).
bool IsValidUtf8(std::string_view text);

// `text` with one U+FFFD for each maximal subpart of an ill-formed sequence, as Python's
// errors="replace" and Rust's from_utf8_lossy do it.
std::string ReplaceInvalidUtf8(std::string_view text);

// How many bytes at the end of `text` begin a character that more bytes could complete; 0 to 3.
size_t UnfinishedUtf8Suffix(std::string_view text);

// The first `bytes` of `text` at most, without the beginning of a character at their end; "..." follows where something
// was left out.
std::string ClipText(std::string_view text, size_t bytes);

// `text` up to its first line feed: of a library's message, what fits into one line of a log.
std::string FirstLine(std::string_view text);

}  // namespace diptych
