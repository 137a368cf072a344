// Any text as the file of API keys, and as an authorization. A refusal must be one printable line that quotes nothing:
// somebody may have written a key where its name belongs.
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/admission/api_key_file.h"
#include "gateway/admission/api_keys.h"
#include "tests/fuzz/checks.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::api_keys {
namespace {

// The longest word of our own messages is tokens_per_minute; keys, hashes and a fuzzer's names are longer.
constexpr int kLongestWord = 17;

void RequireNoLongWord(std::string_view message) {
  int length = 0;
  for (const unsigned char c : message) {
    length = std::isalnum(c) || c == '_' || c == '-' ? length + 1 : 0;
    Require(length <= kLongestWord);
  }
}

}  // namespace

DIPTYCH_FUZZ_TARGET(api_keys) {
  using namespace diptych::gateway;  // NOLINT
  const std::string_view input = diptych::fuzz::TextOf(data, size);
  for (const char c : BearerOf(input)) Require(c >= ' ' && c <= '~');
  const auto keys = ApiKeys::Parse(input);
  if (!keys.ok()) {
    Require(keys.status().code() == absl::StatusCode::kInvalidArgument);
    diptych::fuzz::RequirePrintable(keys.status());
    RequireNoLongWord(std::string(keys.status().message()));
    return 0;
  }
  Require(keys->size() >= 1 && keys->size() <= kMaxApiKeys);
  Require(keys->Find(input) == nullptr && keys->Find("") == nullptr);
  return 0;
}

}  // namespace diptych::fuzz::api_keys
