#include "blip2/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "blip2/tokenizer/pretokenizer.h"
#include "blip2/tokenizer/vocabulary.h"
#include "common/status.h"
#include "common/text/utf8.h"

namespace diptych::blip2 {

struct Tokenizer::Tables {
  Vocabulary vocabulary;
  Pretokenizer pretokenizer;

  bool Contains(int64_t id) const { return 0 <= id && id < static_cast<int64_t>(vocabulary.bytes.size()); }

  // Requires: valid UTF-8.
  void Encode(std::string_view text, std::vector<int64_t>& ids) const {
    std::vector<int32_t> tokens;
    for (const std::string_view word : pretokenizer.Split(text)) {
      tokens.clear();
      for (const char c : word) tokens.push_back(vocabulary.byte_ids[static_cast<uint8_t>(c)]);
      vocabulary.merges.Apply(tokens);
      ids.insert(ids.end(), tokens.begin(), tokens.end());
    }
  }

  // The longest added token that `text` begins with; null if there is none.
  const AddedToken* AddedTokenAt(std::string_view text) const {
    const AddedToken* longest = nullptr;
    for (const AddedToken& token : vocabulary.added) {
      if (text.starts_with(token.text) && (longest == nullptr || token.text.size() > longest->text.size())) {
        longest = &token;
      }
    }
    return longest;
  }
};

Tokenizer::Tokenizer(std::unique_ptr<const Tables> tables) : tables_(std::move(tables)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

absl::StatusOr<Tokenizer> Tokenizer::Load(const std::filesystem::path& folder) {
  DIPTYCH_ASSIGN_OR_RETURN(Pretokenizer pretokenizer, Pretokenizer::Create());
  DIPTYCH_ASSIGN_OR_RETURN(Vocabulary vocabulary, LoadVocabulary(folder));
  return Tokenizer(std::make_unique<const Tables>(Tables{std::move(vocabulary), std::move(pretokenizer)}));
}

std::vector<int64_t> Tokenizer::Encode(std::string_view text) const {
  std::vector<int64_t> ids;
  if (IsValidUtf8(text)) {
    tables_->Encode(text, ids);
  } else {
    tables_->Encode(ReplaceInvalidUtf8(text), ids);
  }
  return ids;
}

std::vector<int64_t> Tokenizer::EncodeWithSpecialTokens(std::string_view text) const {
  const std::string valid = ReplaceInvalidUtf8(text);
  const std::string_view rest = valid;
  std::vector<int64_t> ids = {bos_token_id()};
  size_t start = 0;
  for (size_t at = 0; at < rest.size();) {
    const AddedToken* token = tables_->AddedTokenAt(rest.substr(at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    tables_->Encode(rest.substr(start, at - start), ids);
    ids.push_back(token->id);
    at += token->text.size();
    start = at;
  }
  tables_->Encode(rest.substr(start), ids);
  return ids;
}

std::string Tokenizer::Decode(std::span<const int64_t> ids) const {
  std::string bytes;
  for (const int64_t id : ids) bytes += BytesOf(id);
  return ReplaceInvalidUtf8(bytes);
}

std::string_view Tokenizer::BytesOf(int64_t id) const {
  return tables_->Contains(id) ? std::string_view(tables_->vocabulary.bytes[id]) : std::string_view();
}

bool Tokenizer::IsSpecial(int64_t id) const {
  return tables_->Contains(id) && tables_->vocabulary.special[id];
}

int64_t Tokenizer::bos_token_id() const {
  return tables_->vocabulary.bos_token_id;
}

int64_t Tokenizer::vocab_size() const {
  return static_cast<int64_t>(tables_->vocabulary.bytes.size());
}

std::string StreamDecoder::Push(int64_t id) {
  pending_ += tokenizer_->BytesOf(id);
  const size_t whole = pending_.size() - UnfinishedUtf8Suffix(pending_);
  std::string text = ReplaceInvalidUtf8(std::string_view(pending_).substr(0, whole));
  pending_.erase(0, whole);
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text = ReplaceInvalidUtf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace diptych::blip2
