#include "blip2/checkpoint/config.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "blip2/checkpoint/image_token.h"
#include "blip2/json_reader.h"
#include "common/models/model_family.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

using nlohmann::json;

// Far above any real model; they keep products of two fields inside int64 and refuse nonsense early.
constexpr int64_t kMaxLayers = 512;
constexpr int64_t kMaxWidth = 65536;
constexpr int64_t kMaxInnerWidth = 4 * kMaxWidth;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxImageSize = 4096;
constexpr int64_t kMaxPatchesPerSide = 255;
constexpr int64_t kMaxQueryTokens = 4096;
constexpr int64_t kMaxVocabulary = 2'000'000;
constexpr int64_t kMaxPositions = 1'000'000;
constexpr int64_t kMaxNewTokens = 1'000'000;
constexpr size_t kMaxEosTokens = 64;
constexpr double kMinEps = 1e-30;
constexpr double kMaxEps = 1;

void CheckHeads(JsonFields& fields, int64_t hidden_size, int64_t heads) {
  if (fields.status().ok() && hidden_size % heads != 0) {
    fields.Reject("num_attention_heads",
                  absl::StrCat("is ", heads, ", which does not divide hidden_size ", hidden_size));
  }
}

absl::Status ReadVision(const json& object, VisionConfig& vision) {
  JsonFields fields(object, "config.json: vision_config.");
  fields.OnlyWord("model_type", "blip_2_vision_model");
  fields.Integer("hidden_size", 1, kMaxWidth, vision.hidden_size);
  fields.Integer("intermediate_size", 1, kMaxInnerWidth, vision.intermediate_size);
  fields.Integer("num_hidden_layers", 1, kMaxLayers, vision.num_hidden_layers);
  fields.Integer("num_attention_heads", 1, kMaxHeads, vision.num_attention_heads);
  fields.Square("image_size", 1, kMaxImageSize, vision.image_size);
  fields.Square("patch_size", 1, kMaxImageSize, vision.patch_size);
  fields.OnlyWord("hidden_act", "gelu");
  fields.Real("layer_norm_eps", kMinEps, kMaxEps, vision.layer_norm_eps);
  fields.Boolean("qkv_bias", vision.qkv_bias);
  CheckHeads(fields, vision.hidden_size, vision.num_attention_heads);
  if (vision.image_size % vision.patch_size != 0) {
    fields.Reject("image_size",
                  absl::StrCat("is ", vision.image_size, ", not a multiple of patch_size ", vision.patch_size));
  } else if (vision.patches_per_side() > kMaxPatchesPerSide) {
    fields.Reject("patch_size", absl::StrCat("gives more than ", kMaxPatchesPerSide, " patches a side"));
  }
  return fields.status();
}

absl::Status ReadQFormer(const json& object, QFormerConfig& qformer) {
  JsonFields fields(object, "config.json: qformer_config.");
  fields.OnlyWord("model_type", "blip_2_qformer");
  fields.Integer("hidden_size", 1, kMaxWidth, qformer.hidden_size);
  fields.Integer("num_hidden_layers", 1, kMaxLayers, qformer.num_hidden_layers);
  fields.Integer("num_attention_heads", 1, kMaxHeads, qformer.num_attention_heads);
  fields.Integer("intermediate_size", 1, kMaxInnerWidth, qformer.intermediate_size);
  fields.Integer("cross_attention_frequency", 1, kMaxLayers, qformer.cross_attention_frequency);
  fields.OnlyWord("hidden_act", "gelu");
  fields.OnlyWord("position_embedding_type", "absolute");
  fields.OnlyBoolean("use_qformer_text_input", false);
  fields.Real("layer_norm_eps", kMinEps, kMaxEps, qformer.layer_norm_eps);
  CheckHeads(fields, qformer.hidden_size, qformer.num_attention_heads);
  return fields.status();
}

absl::Status ReadText(const json& object, TextConfig& text) {
  JsonFields fields(object, "config.json: text_config.");
  fields.OnlyWord("model_type", "opt");
  fields.Integer("vocab_size", 1, kMaxVocabulary, text.vocab_size);
  fields.Integer("hidden_size", 1, kMaxWidth, text.hidden_size);
  text.word_embed_proj_dim = text.hidden_size;
  fields.Integer("word_embed_proj_dim", 1, kMaxWidth, text.word_embed_proj_dim);
  fields.Integer("ffn_dim", 1, kMaxInnerWidth, text.ffn_dim);
  fields.Integer("num_hidden_layers", 1, kMaxLayers, text.num_hidden_layers);
  fields.Integer("num_attention_heads", 1, kMaxHeads, text.num_attention_heads);
  fields.Integer("max_position_embeddings", 1, kMaxPositions, text.max_position_embeddings);
  fields.OnlyWord("activation_function", "relu");
  fields.Boolean("do_layer_norm_before", text.do_layer_norm_before);
  fields.Boolean("_remove_final_layer_norm", text.remove_final_layer_norm);
  fields.Boolean("enable_bias", text.enable_bias);
  fields.Boolean("layer_norm_elementwise_affine", text.layer_norm_elementwise_affine);
  fields.Boolean("tie_word_embeddings", text.tie_word_embeddings);
  const int64_t last_token = text.vocab_size - 1;
  fields.Integer("bos_token_id", 0, last_token, text.bos_token_id);
  fields.Integer("pad_token_id", 0, last_token, text.pad_token_id);
  // transformers generates with the decoder's own configuration: the outer generation_config.json does
  // not change where a sequence ends, and a null eos means that none does.
  if (object.contains("eos_token_id") && object["eos_token_id"].is_null()) text.eos_token_ids.clear();
  fields.IntegerOrList("eos_token_id", 0, last_token, kMaxEosTokens, text.eos_token_ids);
  CheckHeads(fields, text.hidden_size, text.num_attention_heads);
  return fields.status();
}

absl::Status ReadImageProcessor(const json& object, std::string where, ImageProcessorConfig& processor) {
  JsonFields fields(object, std::move(where));
  processor.image_size = 384;  // BlipImageProcessor's own default
  fields.Square("size", 1, kMaxImageSize, processor.image_size);
  fields.Integer("resample", 0, 5, processor.resample);
  if (processor.resample != 3) fields.Reject("resample", "is not 3 (bicubic), the only filter that is served");
  for (const std::string_view step : {"do_resize", "do_rescale", "do_normalize"}) fields.OnlyBoolean(step, true);
  for (const std::string_view step : {"do_center_crop", "do_pad"}) fields.OnlyBoolean(step, false);
  fields.Real("rescale_factor", 1e-9, 1, processor.rescale_factor);
  fields.Reals("image_mean", -10, 10, processor.image_mean);
  fields.Reals("image_std", 1e-6, 10, processor.image_std);
  return fields.status();
}

// transformers 5 saves the image processor inside processor_config.json, and reads that one first.
absl::Status ReadProcessor(const std::filesystem::path& folder, Config& config) {
  absl::StatusOr<json> processor_file = ReadJsonObject(folder / "processor_config.json");
  if (!processor_file.ok() && !absl::IsNotFound(processor_file.status())) return processor_file.status();
  const json processor = processor_file.ok() ? *std::move(processor_file) : json::object();

  JsonFields fields(processor, "processor_config.json: ");
  int64_t query_tokens = config.num_query_tokens;
  fields.Integer("num_query_tokens", 1, kMaxQueryTokens, query_tokens);
  if (query_tokens != config.num_query_tokens) {
    fields.Reject("num_query_tokens",
                  absl::StrCat("is ", query_tokens, ", but config.json says ", config.num_query_tokens));
  }
  const json& nested = fields.Object("image_processor");
  DIPTYCH_RETURN_IF_ERROR(fields.status());
  if (fields.Has("image_processor")) {
    return ReadImageProcessor(nested, "processor_config.json: image_processor.", config.image_processor);
  }
  DIPTYCH_ASSIGN_OR_RETURN(const json preprocessor, ReadJsonObject(folder / "preprocessor_config.json"));
  return ReadImageProcessor(preprocessor, "preprocessor_config.json: ", config.image_processor);
}

// Configurations of before November 2024 do not name the image token, and transformers 5 cannot place
// images with them; here such a checkpoint gets the id that its tokenizer implies.
absl::Status FindImageToken(const std::filesystem::path& folder, JsonFields& fields, Config& config) {
  const int64_t last_token = config.text.vocab_size - 1;
  int64_t index = -1;
  int64_t id = -1;
  fields.Integer("image_token_index", 0, last_token, index);
  fields.Integer("image_token_id", 0, last_token, id);
  if (index >= 0 && id >= 0 && index != id) fields.Reject("image_token_id", "contradicts image_token_index");
  DIPTYCH_RETURN_IF_ERROR(fields.status());

  config.image_token_id = std::max(index, id);
  if (config.image_token_id >= 0) return absl::OkStatus();
  DIPTYCH_ASSIGN_OR_RETURN(config.image_token_id, ImageTokenOfTokenizer(folder));
  if (config.image_token_id > last_token) {
    fields.Reject("image_token_index", absl::StrCat("is absent, and the tokenizer's <image>, ", config.image_token_id,
                                                    ", is outside the vocabulary of ", config.text.vocab_size));
  }
  return fields.status();
}

absl::Status ReadRounded(const json& object, Config& config) {
  JsonFields fields(object, "config.json: quantization_config.");
  if (!fields.Has("quant_method")) fields.Reject("quant_method", "is absent");
  fields.OnlyWord("quant_method", kRoundedMethod);
  RoundedConfig rounded;
  int64_t layout = 0;
  fields.Integer("layout", 1, 1, layout);
  if (layout != 1) fields.Reject("layout", "is not 1");
  fields.Integer("bits", 4, 8, rounded.bits);
  if (rounded.bits != 4 && rounded.bits != 8) fields.Reject("bits", "is neither 4 nor 8");
  const auto fingerprint = object.find("vision_fingerprint");
  const std::string* const text = fingerprint == object.end() ? nullptr : fingerprint->get_ptr<const std::string*>();
  if (text == nullptr || text->size() != 64 || text->find_first_not_of("0123456789abcdef") != text->npos) {
    fields.Reject("vision_fingerprint", "is not a SHA-256 in hexadecimal");
    return fields.status();
  }
  rounded.vision_fingerprint = *text;
  config.rounded = rounded;
  return fields.status();
}

absl::Status ReadGeneration(const std::filesystem::path& folder, Config& config) {
  const absl::StatusOr<json> generation = ReadJsonObject(folder / "generation_config.json");
  if (absl::IsNotFound(generation.status())) return absl::OkStatus();
  if (!generation.ok()) return generation.status();
  JsonFields fields(*generation, "generation_config.json: ");
  fields.Integer("max_new_tokens", 1, kMaxNewTokens, config.default_max_new_tokens);
  return fields.status();
}

// Facts that only two parts together can get wrong.
void CheckAgreement(const Config& config, JsonFields& fields) {
  // Room for the query tokens, the beginning of the text and one answer token.
  if (config.num_query_tokens + 2 > config.text.max_position_embeddings) {
    fields.Reject("num_query_tokens", absl::StrCat("is ", config.num_query_tokens, ", which leaves no room in ",
                                                   config.text.max_position_embeddings, " positions"));
  }
  if (config.image_processor.image_size != config.vision.image_size) {
    fields.Reject("vision_config.image_size",
                  absl::StrCat("is ", config.vision.image_size, ", but the image processor's size is ",
                               config.image_processor.image_size));
  }
}

// First, because a checkpoint of another family is not wrong in the field that happens to differ.
absl::Status CheckFamilyOf(const json& root) {
  const auto word = [](const json& object, const char* name) -> std::string {
    const auto field = object.find(name);
    return field != object.end() && field->is_string() ? field->get<std::string>() : "";
  };
  const auto text = root.find("text_config");
  const bool has_text = text != root.end() && text->is_object();
  const absl::Status family = CheckFamily(word(root, "model_type"), has_text ? word(*text, "model_type") : "");
  return family.ok() ? family : Annotate(family, "config.json");
}

}  // namespace

absl::StatusOr<Config> LoadConfig(const std::filesystem::path& folder) {
  DIPTYCH_ASSIGN_OR_RETURN(const json root, ReadJsonObject(folder / "config.json"));
  DIPTYCH_RETURN_IF_ERROR(CheckFamilyOf(root));
  Config config;
  JsonFields fields(root, "config.json: ");
  fields.OnlyWord("model_type", "blip-2");
  fields.OnlyBoolean("use_decoder_only_language_model", true);
  fields.Integer("num_query_tokens", 1, kMaxQueryTokens, config.num_query_tokens);
  const json& vision = fields.Object("vision_config");
  const json& qformer = fields.Object("qformer_config");
  const json& text = fields.Object("text_config");
  if (fields.Has("quantization_config")) {
    DIPTYCH_RETURN_IF_ERROR(ReadRounded(fields.Object("quantization_config"), config));
  }
  DIPTYCH_RETURN_IF_ERROR(fields.status());

  DIPTYCH_RETURN_IF_ERROR(ReadVision(vision, config.vision));
  DIPTYCH_RETURN_IF_ERROR(ReadQFormer(qformer, config.qformer));
  DIPTYCH_RETURN_IF_ERROR(ReadText(text, config.text));
  DIPTYCH_RETURN_IF_ERROR(FindImageToken(folder, fields, config));
  DIPTYCH_RETURN_IF_ERROR(ReadProcessor(folder, config));
  DIPTYCH_RETURN_IF_ERROR(ReadGeneration(folder, config));
  CheckAgreement(config, fields);
  DIPTYCH_RETURN_IF_ERROR(fields.status());
  return config;
}

}  // namespace diptych::blip2
