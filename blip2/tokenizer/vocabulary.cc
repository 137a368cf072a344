#include "blip2/tokenizer/vocabulary.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "blip2/json_reader.h"
#include "blip2/tokenizer/pretokenizer.h"
#include "blip2/tokenizer/vocabulary_builder.h"
#include "common/files.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

using nlohmann::json;

constexpr char kTokenizerFile[] = "tokenizer.json";
constexpr char kConfigFile[] = "tokenizer_config.json";
constexpr char kVocabFile[] = "vocab.json";
constexpr char kMergesFile[] = "merges.txt";
constexpr char kAddedFile[] = "added_tokens.json";

absl::Status Invalid(std::string_view file, std::string_view complaint) {
  return MakeError(absl::StatusCode::kInvalidArgument, "",
                   absl::StrCat(std::string(file), ": ", std::string(complaint)));
}

// Special tokens by their text. Defaults are OPT's.
struct SpecialNames {
  std::string bos = "</s>";
  std::string eos = "</s>";
  std::string unk = "</s>";
  std::string pad = "<pad>";
};

// A token in tokenizer_config.json: its text, or an object that holds it.
void ReadTokenName(JsonFields& fields, const json& config, const char* name, std::string& text) {
  if (!fields.Has(name)) return;
  const json& field = config[name];
  const json& content = field.is_object() ? field.value("content", json()) : field;
  if (!content.is_string()) return fields.Reject(name, "names no token");
  text = content.get<std::string>();
}

absl::StatusOr<SpecialNames> ReadSpecialNames(const std::filesystem::path& folder) {
  SpecialNames names;
  absl::StatusOr<json> config = ReadJsonObject(folder / kConfigFile);
  if (absl::IsNotFound(config.status())) return names;
  DIPTYCH_RETURN_IF_ERROR(config.status());
  JsonFields fields(*config, "tokenizer_config.json: ");
  fields.OnlyBoolean("add_prefix_space", false);
  ReadTokenName(fields, *config, "bos_token", names.bos);
  ReadTokenName(fields, *config, "eos_token", names.eos);
  ReadTokenName(fields, *config, "unk_token", names.unk);
  ReadTokenName(fields, *config, "pad_token", names.pad);
  DIPTYCH_RETURN_IF_ERROR(fields.status());
  return names;
}

std::string_view StringField(const json& object, const char* name) {
  if (!object.is_object()) return {};
  const auto field = object.find(name);
  return field != object.end() && field->is_string() ? std::string_view(field->get_ref<const std::string&>())
                                                     : std::string_view();
}

bool BoolField(const json& object, const char* name, bool otherwise) {
  const auto field = object.find(name);
  return field != object.end() && field->is_boolean() ? field->get<bool>() : otherwise;
}

// The steps of a pre-tokenizer or post-processor: those in its list if it is a "Sequence", else itself.
std::vector<const json*> Steps(const json& step, const char* list) {
  if (StringField(step, "type") != "Sequence") return {&step};
  std::vector<const json*> steps;
  if (const auto field = step.find(list); field != step.end() && field->is_array()) {
    for (const json& entry : *field) steps.push_back(&entry);
  }
  return steps;
}

bool IsByteLevel(const json& step, bool use_regex) {
  return StringField(step, "type") == "ByteLevel" && !BoolField(step, "add_prefix_space", true) &&
         BoolField(step, "use_regex", true) == use_regex;
}

bool IsGpt2Split(const json& step) {
  if (StringField(step, "type") != "Split" || !step.contains("pattern")) return false;
  return StringField(step["pattern"], "Regex") == Pretokenizer::kGpt2Pattern &&
         StringField(step, "behavior") == "Isolated" && !BoolField(step, "invert", false);
}

bool IsGpt2PreTokenizer(const json& pre_tokenizer) {
  const std::vector<const json*> steps = Steps(pre_tokenizer, "pretokenizers");
  if (steps.size() == 1) return IsByteLevel(*steps[0], /*use_regex=*/true);
  return steps.size() == 2 && IsGpt2Split(*steps[0]) && IsByteLevel(*steps[1], /*use_regex=*/false);
}

// The token that the template puts before the text; `otherwise` if there is no template.
// Nothing if the post-processor does anything else.
std::optional<std::string> BosOfPostProcessor(const json& post_processor, const std::string& otherwise) {
  std::string bos = otherwise;
  for (const json* step : Steps(post_processor, "processors")) {
    const std::string_view type = StringField(*step, "type");
    if (type.empty() || type == "ByteLevel") continue;
    if (type != "TemplateProcessing" || !step->contains("single")) return std::nullopt;
    const json& single = (*step)["single"];
    if (!single.is_array() || single.size() != 2 || !single[0].is_object() || !single[1].is_object())
      return std::nullopt;
    if (!single[0].contains("SpecialToken") || !single[1].contains("Sequence")) return std::nullopt;
    bos = std::string(StringField(single[0]["SpecialToken"], "id"));
  }
  return bos;
}

absl::Status AddMergesOf(const json& merges, VocabularyBuilder& builder) {
  for (const json& merge : merges) {
    if (merge.is_string()) {
      DIPTYCH_RETURN_IF_ERROR(builder.AddMerge(merge.get_ref<const std::string&>()));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      DIPTYCH_RETURN_IF_ERROR(
          builder.AddMerge(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()));
    } else {
      return Invalid(kTokenizerFile, "a merge is neither \"left right\" nor a pair of strings");
    }
  }
  return absl::OkStatus();
}

absl::Status AddAddedTokensOf(const json& tokens, VocabularyBuilder& builder) {
  if (!tokens.is_array()) return Invalid(kTokenizerFile, "added_tokens is not a list");
  for (const json& token : tokens) {
    if (!token.is_object() || !token.contains("id")) return Invalid(kTokenizerFile, "an added token has no id");
    DIPTYCH_RETURN_IF_ERROR(
        builder.AddAddedToken(StringField(token, "content"), token["id"], BoolField(token, "special", false)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Vocabulary> FromTokenizerFile(const json& file, const SpecialNames& names) {
  JsonFields fields(file, "tokenizer.json: ");
  if (fields.Has("normalizer")) fields.Reject("normalizer", "is set; only byte-level BPE without one is served");
  if (!IsGpt2PreTokenizer(fields.Object("pre_tokenizer"))) {
    fields.Reject("pre_tokenizer", "is not GPT-2's (ByteLevel with its pattern and without add_prefix_space)");
  }
  const std::optional<std::string> bos = BosOfPostProcessor(fields.Object("post_processor"), names.bos);
  if (!bos) fields.Reject("post_processor", "does more than put one token before the text");
  const json& model = fields.Object("model");
  DIPTYCH_RETURN_IF_ERROR(fields.status());

  JsonFields model_fields(model, "tokenizer.json: model.");
  double dropout = 0;
  model_fields.OnlyWord("type", "BPE");
  model_fields.Real("dropout", 0, 0, dropout);
  model_fields.OnlyWord("continuing_subword_prefix", "");
  model_fields.OnlyWord("end_of_word_suffix", "");
  model_fields.OnlyBoolean("ignore_merges", false);
  const json& vocab = model_fields.Object("vocab");
  DIPTYCH_RETURN_IF_ERROR(model_fields.status());
  if (!model.contains("merges") || !model["merges"].is_array()) {
    return Invalid(kTokenizerFile, "model.merges is not a list");
  }

  VocabularyBuilder builder;
  builder.set_file(kTokenizerFile);
  DIPTYCH_RETURN_IF_ERROR(builder.AddTokens(vocab));
  if (fields.Has("added_tokens")) DIPTYCH_RETURN_IF_ERROR(AddAddedTokensOf(file["added_tokens"], builder));
  DIPTYCH_RETURN_IF_ERROR(AddMergesOf(model["merges"], builder));
  return std::move(builder).Finish(*bos);
}

absl::StatusOr<std::string> ReadMergesFile(const std::filesystem::path& file) {
  absl::StatusOr<std::string> text = ReadFile(file.string(), kMaxMergesFileBytes);
  if (text.ok()) return text;
  if (absl::IsNotFound(text.status())) return Annotate(text.status(), kMergesFile);
  return Invalid(kMergesFile, std::string(text.status().message()));
}

// One "left right" a line after an optional "#version" line.
absl::Status AddMergeLines(std::string_view text, VocabularyBuilder& builder) {
  if (text.starts_with("#version")) text.remove_prefix(std::min(text.find('\n'), text.size()));
  while (!text.empty()) {
    const size_t length = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) DIPTYCH_RETURN_IF_ERROR(builder.AddMerge(line));
  }
  return absl::OkStatus();
}

absl::StatusOr<Vocabulary> FromSeparateFiles(const std::filesystem::path& folder, const SpecialNames& names) {
  DIPTYCH_ASSIGN_OR_RETURN(const json vocab, ReadJsonObject(folder / kVocabFile));
  DIPTYCH_ASSIGN_OR_RETURN(const std::string merges, ReadMergesFile(folder / kMergesFile));
  absl::StatusOr<json> added = ReadJsonObject(folder / kAddedFile);
  if (!added.ok() && !absl::IsNotFound(added.status())) return added.status();

  VocabularyBuilder builder;
  builder.set_file(kVocabFile);
  DIPTYCH_RETURN_IF_ERROR(builder.AddTokens(vocab));
  for (const std::string* name : {&names.bos, &names.eos, &names.unk, &names.pad}) builder.MarkSpecial(*name);
  if (added.ok()) {
    builder.set_file(kAddedFile);
    for (const auto& [text, id] : added->items()) {
      DIPTYCH_RETURN_IF_ERROR(builder.AddAddedToken(text, id, /*special=*/true));
    }
  }
  builder.set_file(kMergesFile);
  DIPTYCH_RETURN_IF_ERROR(AddMergeLines(merges, builder));
  builder.set_file(kVocabFile);
  return std::move(builder).Finish(names.bos);
}

}  // namespace

absl::StatusOr<Vocabulary> LoadVocabulary(const std::filesystem::path& folder) {
  DIPTYCH_ASSIGN_OR_RETURN(const SpecialNames names, ReadSpecialNames(folder));
  absl::StatusOr<json> file = ReadJsonObject(folder / kTokenizerFile);
  if (file.ok()) return FromTokenizerFile(*file, names);
  if (!absl::IsNotFound(file.status())) return file.status();
  return FromSeparateFiles(folder, names);
}

}  // namespace diptych::blip2
