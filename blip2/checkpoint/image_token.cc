#include "blip2/checkpoint/image_token.h"

#include <optional>
#include <string>
#include <utility>

#include "blip2/json_reader.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

using nlohmann::json;

constexpr int64_t kOptImageToken = 50265;
constexpr int64_t kMaxTokenId = 2'000'000;

// The file, or an empty object if there is none.
absl::StatusOr<json> ReadIfPresent(const std::filesystem::path& file) {
  absl::StatusOr<json> object = ReadJsonObject(file);
  if (absl::IsNotFound(object.status())) return json::object();
  return object;
}

absl::Status ReadId(const json& object, std::string_view field, std::string where, std::optional<int64_t>& id) {
  JsonFields fields(object, std::move(where));
  int64_t value = -1;
  fields.Integer(field, 0, kMaxTokenId, value);
  if (value >= 0) id = value;
  return fields.status();
}

// In tokenizer.json: the id of <image>, or the number of tokens.
absl::Status ReadTokenizerJson(const json& tokenizer, std::optional<int64_t>& image_token, int64_t& tokens) {
  JsonFields fields(tokenizer, "tokenizer.json: ");
  const json& model = fields.Object("model");
  DIPTYCH_RETURN_IF_ERROR(fields.status());
  const auto vocabulary = model.find("vocab");
  if (vocabulary == model.end() || !vocabulary->is_object()) {
    return absl::InvalidArgumentError("tokenizer.json: model.vocab is not an object");
  }
  tokens = static_cast<int64_t>(vocabulary->size());
  const auto added = tokenizer.find("added_tokens");
  if (added == tokenizer.end() || !added->is_array()) return absl::OkStatus();
  for (const json& token : *added) {
    const std::string* content =
        token.is_object() && token.contains("content") ? token["content"].get_ptr<const std::string*>() : nullptr;
    if (content == nullptr) return absl::InvalidArgumentError("tokenizer.json: an added token has no content");
    if (*content == "<image>") return ReadId(token, "id", "tokenizer.json: added token <image>: ", image_token);
    if (!vocabulary->contains(*content)) ++tokens;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int64_t> ImageTokenOfTokenizer(const std::filesystem::path& folder) {
  std::optional<int64_t> image_token;
  DIPTYCH_ASSIGN_OR_RETURN(const json added, ReadIfPresent(folder / "added_tokens.json"));
  DIPTYCH_RETURN_IF_ERROR(ReadId(added, "<image>", "added_tokens.json: ", image_token));
  if (image_token) return *image_token;

  int64_t tokens = 0;
  DIPTYCH_ASSIGN_OR_RETURN(const json tokenizer, ReadIfPresent(folder / "tokenizer.json"));
  if (!tokenizer.empty()) DIPTYCH_RETURN_IF_ERROR(ReadTokenizerJson(tokenizer, image_token, tokens));
  if (image_token) return *image_token;
  if (tokens > 0) return tokens;

  DIPTYCH_ASSIGN_OR_RETURN(const json vocabulary, ReadIfPresent(folder / "vocab.json"));
  return vocabulary.empty() ? kOptImageToken : static_cast<int64_t>(vocabulary.size() + added.size());
}

}  // namespace diptych::blip2
