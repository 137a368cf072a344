// Byte-level BPE, as GPT-2 and OPT use it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace diptych::blip2 {

// Const after Load; thread-safe.
class Tokenizer {
 public:
  // Reads tokenizer.json, or vocab.json + merges.txt (+ added_tokens.json) where it is absent.
  // NOT_FOUND or INVALID_ARGUMENT, naming the file and what is wrong with it.
  static absl::StatusOr<Tokenizer> Load(const std::filesystem::path& folder);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Text to ids without the beginning-of-sequence token. Text that spells a special token ("</s>",
  // "<image>") is tokenised as ordinary text, so that users cannot write special tokens.
  // Any bytes are accepted; each maximal subpart that is not UTF-8 is taken for U+FFFD.
  std::vector<int64_t> Encode(std::string_view text) const;

  // As transformers' tokenizer does it: the beginning-of-sequence id first, and text that spells a
  // special token becomes that token. For parity checks only; never for a user's text.
  std::vector<int64_t> EncodeWithSpecialTokens(std::string_view text) const;

  // Ids to text without special tokens; invalid UTF-8 becomes U+FFFD for each maximal subpart. Ids
  // outside the vocabulary stand for nothing.
  std::string Decode(std::span<const int64_t> ids) const;

  // The bytes that one id stands for; empty for special tokens and ids outside the vocabulary.
  std::string_view BytesOf(int64_t id) const;
  bool IsSpecial(int64_t id) const;
  int64_t bos_token_id() const;
  // One more than the highest id.
  int64_t vocab_size() const;

 private:
  struct Tables;
  explicit Tokenizer(std::unique_ptr<const Tables> tables);
  std::unique_ptr<const Tables> tables_;
};

// Turns a stream of ids into a stream of text that never splits a UTF-8 character. Thread-compatible.
class StreamDecoder {
 public:
  // `tokenizer` must outlive the decoder.
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  // Text that became complete with this id; at most three bytes are held back. Concatenating all
  // results and Finish() gives Tokenizer::Decode of all ids.
  std::string Push(int64_t id);
  // The bytes held back, decoded lossily.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  std::string pending_;
};

}  // namespace diptych::blip2
