// A byte-level BPE tokenizer of a few hundred tokens, as files.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace diptych::testing {

// Ids: 0 <s>, 1 <pad>, 2 </s>, 3 <unk>, then the 256 bytes in increasing order, then the merged tokens.
struct TinyTokenizer {
  nlohmann::json vocabulary;  // vocab.json: token -> id
  std::string merges;         // merges.txt
};

TinyTokenizer MakeTinyTokenizer();

// Id of one byte: TinyByteToken('\n') is the newline, which ends an answer of the full model.
constexpr int64_t TinyByteToken(unsigned char byte) {
  return 4 + byte;
}

// First id after the vocabulary, which <image> gets.
inline constexpr int64_t kTinyImageToken = 4 + 256 + 12;

}  // namespace diptych::testing
