// Cuts text into the words that byte-pair encoding works on.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

struct pcre2_real_code_8;

namespace diptych::blip2 {

// GPT-2's pattern: contractions, letters, numbers, everything else, each with at most one space before
// it, and runs of white space. Unicode's categories are those of the installed PCRE2. Thread-safe.
class Pretokenizer {
 public:
  // The pattern as tokenizer files spell it.
  static constexpr std::string_view kGpt2Pattern =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

  // UNIMPLEMENTED if the installed PCRE2 knows no Unicode.
  static absl::StatusOr<Pretokenizer> Create();

  // Views into `text`, in order; together they are all of it. Linear time. Requires: valid UTF-8.
  std::vector<std::string_view> Split(std::string_view text) const;

 private:
  explicit Pretokenizer(std::shared_ptr<pcre2_real_code_8> pattern) : pattern_(std::move(pattern)) {}
  std::shared_ptr<pcre2_real_code_8> pattern_;
};

}  // namespace diptych::blip2
