// JSON from outside becomes a value in one pass, and only as far as it keeps to its bounds.
#pragma once

#include <cstddef>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace diptych {

struct JsonBounds {
  size_t max_depth;                                        // objects and lists inside each other
  size_t max_values = std::numeric_limits<size_t>::max();  // and keys; without the numbers in lists
  // Numbers in lists, which take 16 bytes each, 32 where their list has room to grow, and nothing of the heap.
  size_t max_numbers = std::numeric_limits<size_t>::max();
};

// The position at which a text stops being valid JSON.
struct JsonFault {
  enum class Kind { kSyntax, kDepth, kValues, kNumbers, kRepeatedKey };

  Kind kind;
  std::optional<size_t> byte = {};  // of an error of syntax, where it is known
  std::string key = {};             // that one object names twice
  size_t depth = 0;                 // of that object; the outermost has 1
};

// Sets `value`, or gives what is wrong first; nothing behind that is read. Text must be UTF-8. Takes time and memory in
// proportion to the text: nlohmann::json's own parse with a callback looks at all of an object again after each member.
std::optional<JsonFault> ReadStrictJson(std::string_view text, const JsonBounds& bounds, nlohmann::json& value);

}  // namespace diptych
