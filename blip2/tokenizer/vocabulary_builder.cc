#include "blip2/tokenizer/vocabulary_builder.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "blip2/json_reader.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

using nlohmann::json;

// GPT-2 writes every byte as a printable character: 188 bytes as themselves, the other 68 as U+0100 and up.
constexpr int kAlphabetEnd = 256 + 68;

struct ByteAlphabet {
  std::array<int, 256> code_points;
  std::array<int, kAlphabetEnd> bytes;  // -1 where no byte is written so

  ByteAlphabet() {
    bytes.fill(-1);
    int next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool itself = (33 <= byte && byte <= 126) || (161 <= byte && byte <= 172) || byte >= 174;
      code_points[byte] = itself ? byte : next++;
      bytes[code_points[byte]] = byte;
    }
  }
};

const ByteAlphabet& Alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

std::string TextOfByte(int byte) {
  const int code_point = Alphabet().code_points[byte];
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

// The bytes that a token's text writes. A text with a character outside the alphabet, as added tokens
// may have, stands for itself. Requires: valid UTF-8.
std::string BytesOfText(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    int code_point = static_cast<uint8_t>(text[i]);
    if (code_point >= 0xE0) return std::string(text);
    if (code_point >= 0x80) code_point = (code_point & 0x1F) << 6 | (text[++i] & 0x3F);
    if (code_point >= kAlphabetEnd || Alphabet().bytes[code_point] < 0) return std::string(text);
    bytes += static_cast<char>(Alphabet().bytes[code_point]);
  }
  return bytes;
}

std::string Quoted(std::string_view text) {
  return absl::StrCat("\"", Printable(text), "\"");
}

}  // namespace

absl::Status VocabularyBuilder::Invalid(std::string_view complaint) const {
  return MakeError(absl::StatusCode::kInvalidArgument, "", absl::StrCat(file_, ": ", std::string(complaint)));
}

int32_t VocabularyBuilder::Find(std::string_view text) const {
  const auto entry = ids_.find(std::string(text));
  return entry == ids_.end() ? -1 : entry->second;
}

bool VocabularyBuilder::IsAdded(int32_t id) const {
  return static_cast<size_t>(id) < added_.size() && added_[id];
}

absl::Status VocabularyBuilder::AddToken(std::string_view text, const json& id) {
  const int64_t* number = id.is_number_integer() ? id.get_ptr<const json::number_integer_t*>() : nullptr;
  if (number == nullptr || *number < 0 || *number >= kMaxTokens) {
    return Invalid(absl::StrCat("the id of token ", Quoted(text), " is not an integer in [0, ", kMaxTokens, ")"));
  }
  const size_t index = static_cast<size_t>(*number);
  if (index >= used_.size()) {
    used_.resize(index + 1);
    vocabulary_.bytes.resize(index + 1);
    vocabulary_.special.resize(index + 1);
    added_.resize(index + 1);
  }
  if (used_[index]) return Invalid(absl::StrCat("two tokens have id ", index));
  used_[index] = true;
  vocabulary_.bytes[index] = BytesOfText(text);
  ids_.emplace(text, static_cast<int32_t>(index));
  return absl::OkStatus();
}

absl::Status VocabularyBuilder::AddTokens(const json& vocab) {
  for (const auto& [text, id] : vocab.items()) DIPTYCH_RETURN_IF_ERROR(AddToken(text, id));
  return absl::OkStatus();
}

absl::Status VocabularyBuilder::AddAddedToken(std::string_view text, const json& id, bool special) {
  if (text.empty()) return Invalid("an added token has no text");
  int32_t known = Find(text);
  if (known < 0) {
    DIPTYCH_RETURN_IF_ERROR(AddToken(text, id));
    known = Find(text);
  } else if (id != known) {
    return Invalid(absl::StrCat("the added token ", Quoted(text), " has another id in the vocabulary"));
  }
  if (!IsAdded(known)) vocabulary_.added.push_back({std::string(text), known});
  added_[known] = true;
  if (special) MarkSpecial(text);
  return absl::OkStatus();
}

void VocabularyBuilder::MarkSpecial(std::string_view text) {
  const int32_t id = Find(text);
  if (id < 0) return;
  if (!IsAdded(id)) vocabulary_.added.push_back({std::string(text), id});
  added_[id] = true;
  vocabulary_.special[id] = true;
  vocabulary_.bytes[id].clear();
}

absl::Status VocabularyBuilder::AddMerge(std::string_view pair) {
  const size_t space = pair.find(' ');
  if (space == std::string_view::npos || pair.find(' ', space + 1) != std::string_view::npos) {
    return Invalid(absl::StrCat("merge ", merges_ + 1, " is not two tokens with one space between"));
  }
  return AddMerge(pair.substr(0, space), pair.substr(space + 1));
}

absl::Status VocabularyBuilder::AddMerge(std::string_view left, std::string_view right) {
  const int32_t rank = merges_++;
  const auto refuse = [&](std::string_view why) {
    return Invalid(absl::StrCat("merge ", rank + 1, " ", std::string(why)));
  };
  if (rank >= kMaxTokens) return refuse("is one too many");
  const int32_t left_id = Find(left);
  const int32_t right_id = Find(right);
  const int32_t result = Find(absl::StrCat(std::string(left), std::string(right)));
  if (left_id < 0 || right_id < 0) return refuse("names a token that is not in the vocabulary");
  if (result < 0) return refuse("makes a token that is not in the vocabulary");
  // Otherwise a user's text could spell it.
  if (IsAdded(result)) return refuse("makes a special token");
  if (!vocabulary_.merges.Add(left_id, right_id, rank, result)) return refuse("is there twice");
  return absl::OkStatus();
}

absl::StatusOr<Vocabulary> VocabularyBuilder::Finish(std::string_view bos) && {
  for (int byte = 0; byte < 256; ++byte) {
    const int32_t id = Find(TextOfByte(byte));
    if (id < 0 || IsAdded(id)) return Invalid(absl::StrCat("byte ", byte, " has no token"));
    vocabulary_.byte_ids[byte] = id;
  }
  vocabulary_.bos_token_id = Find(bos);
  if (vocabulary_.bos_token_id < 0) {
    return Invalid(absl::StrCat("the beginning-of-sequence token ", Quoted(bos), " is not in the vocabulary"));
  }
  return std::move(vocabulary_);
}

}  // namespace diptych::blip2
