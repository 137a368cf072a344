#include "tests/testing/tiny_tokenizer.h"

#include <iterator>

namespace diptych::testing {
namespace {

// In vocab.json's alphabet: U+0120 (Ġ) stands for a space. Each pair merges what is there before it.
constexpr const char* kMerges[][2] = {{"Ġ", "a"}, {"Ġ", "t"}, {"h", "e"},  {"Ġt", "he"}, {"i", "n"}, {"o", "n"},
                                      {"r", "e"}, {"Ġ", "c"}, {"Ġc", "a"}, {"Ġca", "t"}, {"a", "t"}, {"Ġ", "d"}};
static_assert(kTinyImageToken == 4 + 256 + std::size(kMerges));

// UTF-8 of a code point below U+0800.
std::string Utf8(int code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

bool IsPrintable(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

}  // namespace

TinyTokenizer MakeTinyTokenizer() {
  TinyTokenizer tokenizer;
  tokenizer.vocabulary = {{"<s>", 0}, {"<pad>", 1}, {"</s>", 2}, {"<unk>", 3}};
  // GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 and on.
  int next_code_point = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const int code_point = IsPrintable(byte) ? byte : next_code_point++;
    tokenizer.vocabulary[Utf8(code_point)] = TinyByteToken(static_cast<unsigned char>(byte));
  }
  tokenizer.merges = "#version: 0.2\n";
  for (const auto& [left, right] : kMerges) {
    tokenizer.merges += std::string(left) + " " + right + "\n";
    const size_t id = tokenizer.vocabulary.size();
    tokenizer.vocabulary[std::string(left) + right] = id;
  }
  return tokenizer;
}

}  // namespace diptych::testing
