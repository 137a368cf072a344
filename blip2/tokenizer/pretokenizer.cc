#include "blip2/tokenizer/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <utility>

namespace diptych::blip2 {
namespace {

// Unicode's White_Space property. PCRE2's own \s also holds U+180E, which lost the property in Unicode 6.3.
#define DIPTYCH_WHITE_SPACE \
  R"(\x{09}-\x{0d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})"

// Pretokenizer::kGpt2Pattern with possessive repeats, which match the same and never backtrack.
constexpr char kPattern[] = R"('(?:[stmd]|re|ve|ll)| ?\p{L}++| ?\p{N}++| ?[^\p{L}\p{N})" DIPTYCH_WHITE_SPACE
                            "]++"
                            "|[" DIPTYCH_WHITE_SPACE "]+(?![^" DIPTYCH_WHITE_SPACE "])|[" DIPTYCH_WHITE_SPACE "]++";

#undef DIPTYCH_WHITE_SPACE

struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

}  // namespace

absl::StatusOr<Pretokenizer> Pretokenizer::Create() {
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPattern), sizeof(kPattern) - 1,
                                   PCRE2_UTF | PCRE2_ANCHORED, &error, &error_offset, nullptr);
  if (code == nullptr) return absl::UnimplementedError("the installed PCRE2 has no Unicode support");
  // If this fails, pcre2_match interprets the pattern.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return Pretokenizer(std::shared_ptr<pcre2_code>(code, pcre2_code_free));
}

std::vector<std::string_view> Pretokenizer::Split(std::string_view text) const {
  std::vector<std::string_view> words;
  const std::unique_ptr<pcre2_match_data, FreeMatchData> match(pcre2_match_data_create(1, nullptr));
  for (size_t start = 0; start < text.size();) {
    const int result = pcre2_match(pattern_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), start,
                                   PCRE2_NO_UTF_CHECK, match.get(), nullptr);
    // The pattern matches every character, so the only failure is a lack of memory.
    const size_t end = result > 0 ? pcre2_get_ovector_pointer(match.get())[1] : text.size();
    words.push_back(text.substr(start, end - start));
    start = end;
  }
  return words;
}

}  // namespace diptych::blip2
