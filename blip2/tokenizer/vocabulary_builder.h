// Builds a Vocabulary token by token and merge by merge, and refuses what does not fit together.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "blip2/tokenizer/vocabulary.h"

namespace diptych::blip2 {

// First tokens, then added tokens, then merges in the order of their rank. Every error is
// INVALID_ARGUMENT and names the file that was set last. Thread-compatible.
class VocabularyBuilder {
 public:
  void set_file(std::string_view file) { file_ = file; }

  // An object of token texts, in GPT-2's printable alphabet, and ids.
  absl::Status AddTokens(const nlohmann::json& vocab);
  // A token that text never becomes by merging. May name a token that is there, if the ids agree.
  absl::Status AddAddedToken(std::string_view text, const nlohmann::json& id, bool special);
  // Makes a token special; does nothing if there is none of this text.
  void MarkSpecial(std::string_view text);
  // "left right".
  absl::Status AddMerge(std::string_view pair);
  absl::Status AddMerge(std::string_view left, std::string_view right);

  absl::StatusOr<Vocabulary> Finish(std::string_view bos) &&;

 private:
  absl::Status Invalid(std::string_view complaint) const;
  absl::Status AddToken(std::string_view text, const nlohmann::json& id);
  // -1 if there is no such token.
  int32_t Find(std::string_view text) const;
  bool IsAdded(int32_t id) const;

  std::string file_;
  Vocabulary vocabulary_;
  absl::flat_hash_map<std::string, int32_t> ids_;
  std::vector<bool> used_;   // by id
  std::vector<bool> added_;  // by id
  int32_t merges_ = 0;
};

}  // namespace diptych::blip2
