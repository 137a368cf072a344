// What fuzz targets share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "absl/status/status.h"

namespace diptych::fuzz {

// A fuzzer counts an abort as a finding.
inline void Require(bool holds) {
  if (!holds) std::abort();
}

// An error is shown as one line of printable ASCII.
inline void RequirePrintable(const absl::Status& status) {
  for (const char c : status.message()) Require(c >= ' ' && c <= '~');
}

inline std::string_view TextOf(const uint8_t* data, size_t size) {
  return std::string_view(reinterpret_cast<const char*>(data), size);
}

inline constexpr std::string_view kSeparator = "\n%%\n";

// Takes what stands before the first separator, or all, off the front.
inline std::string_view TakePart(std::string_view& input) {
  const std::string_view part = input.substr(0, input.find(kSeparator));
  input.remove_prefix(part.size());
  if (!input.empty()) input.remove_prefix(kSeparator.size());
  return part;
}

}  // namespace diptych::fuzz
