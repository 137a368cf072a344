// The tables of a byte-level BPE tokenizer, read from a checkpoint's files and checked.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/tokenizer/bpe.h"

namespace diptych::blip2 {

// Bounds on files from outside; OPT has 50,266 tokens and 50,000 merges.
inline constexpr int64_t kMaxTokens = int64_t{1} << 20;
inline constexpr int64_t kMaxMergesFileBytes = int64_t{16} << 20;

struct AddedToken {
  std::string text;
  int32_t id = 0;
};

struct Vocabulary {
  std::vector<std::string> bytes;     // by id: what the token stands for; empty for special and unused ids
  std::vector<bool> special;          // by id
  std::array<int32_t, 256> byte_ids;  // the token of each single byte
  MergeTable merges;
  std::vector<AddedToken> added;  // special tokens and others that stand outside byte-pair encoding
  int64_t bos_token_id = 0;
};

// Reads tokenizer.json, or vocab.json + merges.txt (+ added_tokens.json) where it is absent;
// tokenizer_config.json names the special tokens where they do not.
// NOT_FOUND if a needed file is absent. INVALID_ARGUMENT, naming the file and what is wrong with it, if a
// file is malformed or beyond the bounds, if ids clash, if a byte has no token, if a merge names or makes a
// token that does not exist or is special, or if it describes another tokenizer than GPT-2's.
absl::StatusOr<Vocabulary> LoadVocabulary(const std::filesystem::path& folder);

}  // namespace diptych::blip2
