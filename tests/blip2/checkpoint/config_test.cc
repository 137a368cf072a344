#include "blip2/checkpoint/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>

#include "blip2/json_reader.h"
#include "tests/testing/tiny_checkpoint.h"

namespace diptych::blip2 {
namespace {

namespace fs = std::filesystem;
using ::diptych::testing::WriteFile;
using ::nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// The current hub repository's config.json: only fields that differ from the defaults (blip2_reference §1.2).
constexpr char kHubConfig[] = R"({
  "architectures": ["Blip2ForConditionalGeneration"], "model_type": "blip-2", "image_text_hidden_size": 256,
  "image_token_index": 50265, "num_query_tokens": 32, "use_decoder_only_language_model": true, "torch_dtype": "float32",
  "qformer_config": {"model_type": "blip_2_qformer"},
  "text_config": {"_name_or_path": "facebook/opt-2.7b", "activation_dropout": 0.0, "eos_token_id": 50118,
    "ffn_dim": 10240, "hidden_size": 2560, "model_type": "opt", "num_attention_heads": 32, "num_hidden_layers": 32,
    "prefix": "</s>", "torch_dtype": "float16", "vocab_size": 50304, "word_embed_proj_dim": 2560},
  "vision_config": {"dropout": 0.0, "model_type": "blip_2_vision_model", "num_channels": 3, "projection_dim": 512}})";
constexpr char kHubProcessor[] =
    R"({"do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
  "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "BlipImageProcessor",
  "image_std": [0.26862954, 0.26130258, 0.27577711], "processor_class": "Blip2Processor", "resample": 3,
  "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}})";

// A folder that starts as the hub repository's files, to be edited.
class ConfigTest : public ::testing::Test {
 protected:
  ~ConfigTest() override { fs::remove_all(folder_); }

  absl::StatusOr<Config> Load() {
    for (const auto& [name, content] : files_) {
      if (!content.is_null()) WriteFile(folder_ / name, content.dump());
    }
    return LoadConfig(folder_);
  }
  Config LoadOrDie() {
    const auto config = Load();
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? *config : Config{};
  }
  std::string Error() {
    const auto config = Load();
    EXPECT_FALSE(config.ok());
    return std::string(config.status().message());
  }
  // The error after one field of config.json is set; the field goes back to what it was.
  std::string ErrorWith(const std::string& pointer, const json& value) {
    const json before = config_;
    config_[json::json_pointer(pointer)] = value;
    const std::string error = Error();
    config_ = before;
    return error;
  }

  const fs::path folder_ = diptych::testing::MakeTemporaryFolder();
  std::map<std::string, json> files_ = {{"config.json", json::parse(kHubConfig)},
                                        {"preprocessor_config.json", json::parse(kHubProcessor)},
                                        {"processor_config.json", {{"num_query_tokens", 32}}}};
  json& config_ = files_.at("config.json");
  json& processor_ = files_.at("preprocessor_config.json");
};

TEST_F(ConfigTest, ReadsTheHubRepositoryWithItsDefaults) {
  const Config config = LoadOrDie();
  EXPECT_EQ(config.vision.hidden_size, 1408);
  EXPECT_EQ(config.vision.num_hidden_layers, 39);
  EXPECT_EQ(config.vision.visual_tokens(), 257);
  EXPECT_EQ(config.vision.layer_norm_eps, 1e-6);
  EXPECT_EQ(config.qformer.cross_attention_frequency, 2);
  EXPECT_EQ(config.text.vocab_size, 50304);
  EXPECT_EQ(config.text.word_embed_proj_dim, 2560);
  EXPECT_EQ(config.text.max_position_embeddings, 2048);
  EXPECT_THAT(config.text.eos_token_ids, ElementsAre(50118));
  EXPECT_EQ(config.image_processor.rescale_factor, 1.0 / 255.0);
  EXPECT_EQ(config.image_token_id, 50265);
  EXPECT_EQ(config.default_max_new_tokens, 20);
}

TEST_F(ConfigTest, AbsentPartsTakeTheClassDefaults) {
  for (const char* part : {"vision_config", "qformer_config", "text_config"}) config_.erase(part);
  const Config config = LoadOrDie();
  EXPECT_EQ(config.vision.intermediate_size, 6144);
  EXPECT_EQ(config.qformer.num_hidden_layers, 12);
  EXPECT_EQ(config.text.hidden_size, 768);
  EXPECT_THAT(config.text.eos_token_ids, ElementsAre(2));
}

TEST_F(ConfigTest, EmbeddingsAreAsWideAsTheDecoderUnlessSaid) {
  config_["text_config"].erase("word_embed_proj_dim");
  EXPECT_EQ(LoadOrDie().text.word_embed_proj_dim, 2560);
  config_["text_config"]["word_embed_proj_dim"] = 512;
  EXPECT_EQ(LoadOrDie().text.word_embed_proj_dim, 512);
}

TEST_F(ConfigTest, EndOfSequenceIsAnIntegerAListOrNothing) {
  config_["text_config"]["eos_token_id"] = {2, 50118};
  EXPECT_THAT(LoadOrDie().text.eos_token_ids, ElementsAre(2, 50118));
  config_["text_config"]["eos_token_id"] = nullptr;
  EXPECT_THAT(LoadOrDie().text.eos_token_ids, IsEmpty());
  config_["text_config"].erase("eos_token_id");
  EXPECT_THAT(LoadOrDie().text.eos_token_ids, ElementsAre(2));
}

TEST_F(ConfigTest, OnlyTheLengthComesFromTheGenerationConfiguration) {
  files_["generation_config.json"] = {{"eos_token_id", 7}, {"max_new_tokens", 64}};
  const Config config = LoadOrDie();
  EXPECT_EQ(config.default_max_new_tokens, 64);
  EXPECT_THAT(config.text.eos_token_ids, ElementsAre(50118));
  files_["generation_config.json"]["max_new_tokens"] = 0;
  EXPECT_THAT(Error(), HasSubstr("generation_config.json: max_new_tokens is 0"));
}

TEST_F(ConfigTest, ReadsTheImageTokenUnderBothNames) {
  config_.erase("image_token_index");
  config_["image_token_id"] = 77;
  EXPECT_EQ(LoadOrDie().image_token_id, 77);
  config_["image_token_index"] = 78;
  EXPECT_THAT(Error(), HasSubstr("image_token_id contradicts image_token_index"));
}

TEST_F(ConfigTest, LegacyFoldersTakeTheImageTokenThatTheTokenizerImplies) {
  config_["image_token_index"] = nullptr;
  EXPECT_EQ(LoadOrDie().image_token_id, 50265);

  files_["vocab.json"] = {{"a", 0}, {"b", 1}, {"c", 2}};
  EXPECT_EQ(LoadOrDie().image_token_id, 3);
  files_["tokenizer.json"] = {{"model", {{"vocab", {{"a", 0}, {"b", 1}}}}},
                              {"added_tokens", {{{"id", 1}, {"content", "b"}}, {{"id", 2}, {"content", "</s>"}}}}};
  EXPECT_EQ(LoadOrDie().image_token_id, 3);
  files_["tokenizer.json"]["added_tokens"].push_back({{"id", 9}, {"content", "<image>"}});
  EXPECT_EQ(LoadOrDie().image_token_id, 9);
  files_["added_tokens.json"] = {{"<image>", 11}};
  EXPECT_EQ(LoadOrDie().image_token_id, 11);

  files_["added_tokens.json"]["<image>"] = 60000;
  EXPECT_THAT(Error(), HasSubstr("image_token_index is absent, and the tokenizer's <image>, 60000"));
  files_["added_tokens.json"]["<image>"] = "x";
  EXPECT_THAT(Error(), HasSubstr("added_tokens.json: <image> is not an integer"));
}

TEST_F(ConfigTest, RefusesAMalformedTokenizerWhereTheImageTokenIsNeeded) {
  config_.erase("image_token_index");
  files_["tokenizer.json"] = {{"model", 3}};
  EXPECT_THAT(Error(), HasSubstr("tokenizer.json: model is not an object"));
  files_["tokenizer.json"] = {{"model", {{"vocab", 3}}}};
  EXPECT_THAT(Error(), HasSubstr("tokenizer.json: model.vocab"));
  files_["tokenizer.json"] = {{"model", {{"vocab", json::object()}}}, {"added_tokens", {3}}};
  EXPECT_THAT(Error(), HasSubstr("tokenizer.json: an added token"));
}

TEST_F(ConfigTest, ReadsTheNestedImageProcessorOfTransformers5First) {
  files_["processor_config.json"] = {{"num_query_tokens", 32}, {"image_processor", processor_}};
  files_["processor_config.json"]["image_processor"]["image_mean"] = {0.1, 0.2, 0.3};
  EXPECT_THAT(LoadOrDie().image_processor.image_mean, ElementsAre(0.1, 0.2, 0.3));
  processor_ = nullptr;
  fs::remove(folder_ / "preprocessor_config.json");
  EXPECT_THAT(LoadOrDie().image_processor.image_mean, ElementsAre(0.1, 0.2, 0.3));
  files_["processor_config.json"]["image_processor"]["resample"] = 2;
  EXPECT_THAT(Error(), HasSubstr("processor_config.json: image_processor.resample is not 3"));
}

TEST_F(ConfigTest, ReadsSquareSizesInEachSpelling) {
  config_["vision_config"]["image_size"] = {364, 364};
  config_["vision_config"]["patch_size"] = {14, 14};
  processor_["size"] = 364;
  EXPECT_EQ(LoadOrDie().vision.visual_tokens(), 677);
  EXPECT_THAT(ErrorWith("/vision_config/image_size", {364, 224}), HasSubstr("not square"));
  EXPECT_THAT(ErrorWith("/vision_config/image_size", {364}), HasSubstr("nor a height and a width"));
  processor_["size"] = {{"shortest_edge", 224}};
  EXPECT_THAT(Error(), HasSubstr("preprocessor_config.json: size is not one number"));
}

TEST_F(ConfigTest, IgnoresUnknownFields) {
  WriteFile(folder_ / "config.json",
            R"({"surprise": [1, {"x": null}], "num_query_tokens": 32, "image_token_index": 5})");
  WriteFile(folder_ / "preprocessor_config.json", kHubProcessor);
  const auto config = LoadConfig(folder_);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->num_query_tokens, 32);
}

TEST_F(ConfigTest, RefusesAFieldGivenTwice) {
  WriteFile(folder_ / "config.json", R"({"num_query_tokens": 8, "num_query_tokens": 32, "image_token_index": 5})");
  WriteFile(folder_ / "preprocessor_config.json", kHubProcessor);
  EXPECT_THAT(std::string(LoadConfig(folder_).status().message()), HasSubstr("twice"));
}

TEST_F(ConfigTest, NamesTheFileThatIsAbsent) {
  EXPECT_EQ(LoadConfig(folder_).status().code(), absl::StatusCode::kNotFound);
  processor_ = nullptr;
  const auto config = Load();
  EXPECT_EQ(config.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(config.status().message()), StartsWith("preprocessor_config.json"));
}

TEST_F(ConfigTest, RefusesWhatIsNotServed) {
  EXPECT_THAT(ErrorWith("/model_type", "blip"), HasSubstr("model_type is \"blip\"; Diptych serves BLIP-2"));
  EXPECT_THAT(ErrorWith("/text_config/model_type", "t5"),
              HasSubstr("text_config.model_type is \"t5\"; Diptych serves BLIP-2"));
  EXPECT_THAT(ErrorWith("/use_decoder_only_language_model", false),
              HasSubstr("use_decoder_only_language_model is false"));
  EXPECT_THAT(ErrorWith("/text_config/activation_function", "gelu"), HasSubstr("text_config.activation_function"));
  EXPECT_THAT(ErrorWith("/vision_config/hidden_act", "quick_gelu"), HasSubstr("vision_config.hidden_act"));
  EXPECT_THAT(ErrorWith("/qformer_config/hidden_act", "relu"), HasSubstr("qformer_config.hidden_act"));
  EXPECT_THAT(ErrorWith("/qformer_config/use_qformer_text_input", true), HasSubstr("use_qformer_text_input is true"));
  EXPECT_THAT(ErrorWith("/qformer_config/position_embedding_type", "relative_key"),
              HasSubstr("position_embedding_type"));
  for (const char* step : {"do_resize", "do_rescale", "do_normalize"}) {
    processor_[step] = false;
    EXPECT_THAT(Error(), HasSubstr(std::string("preprocessor_config.json: ") + step + " is false"));
    processor_[step] = true;
  }
  processor_["do_center_crop"] = true;
  EXPECT_THAT(Error(), HasSubstr("do_center_crop is true"));
}

TEST_F(ConfigTest, RefusesNumbersOutOfBounds) {
  const json kHuge = std::numeric_limits<uint64_t>::max();
  for (const char* part : {"vision_config", "qformer_config", "text_config"}) {
    for (const char* field : {"hidden_size", "num_hidden_layers", "num_attention_heads"}) {
      for (const json& value : {json(0), json(-1), json(70000), kHuge, json(1e300), json(8.0), json("8"), json(true)}) {
        EXPECT_THAT(ErrorWith(std::string("/") + part + "/" + field, value),
                    AllOf(StartsWith("config.json: "), HasSubstr(std::string(part) + "." + field)))
            << value;
      }
    }
  }
  const std::pair<const char*, json> others[] = {{"/vision_config/intermediate_size", 262145},
                                                 {"/vision_config/image_size", 4097},
                                                 {"/vision_config/patch_size", 0},
                                                 {"/qformer_config/cross_attention_frequency", 0},
                                                 {"/text_config/vocab_size", 2000001},
                                                 {"/text_config/max_position_embeddings", 1000001},
                                                 {"/text_config/ffn_dim", 0},
                                                 {"/text_config/word_embed_proj_dim", 65537},
                                                 {"/vision_config/layer_norm_eps", 0.0},
                                                 {"/vision_config/layer_norm_eps", 1.5},
                                                 {"/qformer_config/layer_norm_eps", -1e-12},
                                                 {"/text_config/bos_token_id", 50304},
                                                 {"/text_config/pad_token_id", -1},
                                                 {"/text_config/eos_token_id", 50304},
                                                 {"/text_config/eos_token_id", {2, 50304}},
                                                 {"/image_token_index", 50304},
                                                 {"/num_query_tokens", 4097},
                                                 {"/vision_config/qkv_bias", 1}};
  for (const auto& [pointer, value] : others) {
    std::string name(pointer + 1);
    std::replace(name.begin(), name.end(), '/', '.');
    EXPECT_THAT(ErrorWith(pointer, value), HasSubstr("config.json: " + name)) << value;
  }
  EXPECT_THAT(ErrorWith("/text_config/eos_token_id", std::vector<int>(65, 2)), HasSubstr("more than 64 entries"));
}

TEST_F(ConfigTest, RefusesPreprocessingOutOfBounds) {
  const std::pair<const char*, json> fields[] = {
      {"rescale_factor", 0.0},    {"rescale_factor", 2}, {"image_std", {0.2, 0.2, 0}},    {"image_std", {0.2, 0.2}},
      {"image_mean", {0, 0, 11}}, {"image_mean", 0.5},   {"image_mean", {"a", "b", "c"}}, {"resample", "bicubic"}};
  for (const auto& [name, value] : fields) {
    const json before = processor_;
    processor_[name] = value;
    EXPECT_THAT(Error(), HasSubstr(std::string("preprocessor_config.json: ") + name)) << value;
    processor_ = before;
  }
}

TEST_F(ConfigTest, RefusesPartsThatContradictEachOther) {
  EXPECT_THAT(ErrorWith("/vision_config/num_attention_heads", 15), HasSubstr("does not divide hidden_size 1408"));
  EXPECT_THAT(ErrorWith("/qformer_config/num_attention_heads", 7), HasSubstr("does not divide hidden_size 768"));
  EXPECT_THAT(ErrorWith("/text_config/num_attention_heads", 33), HasSubstr("does not divide hidden_size 2560"));
  EXPECT_THAT(ErrorWith("/vision_config/patch_size", 15), HasSubstr("not a multiple of patch_size 15"));
  EXPECT_THAT(ErrorWith("/vision_config", {{"image_size", 512}, {"patch_size", 2}}), HasSubstr("255 patches a side"));
  EXPECT_THAT(ErrorWith("/vision_config/image_size", 364), HasSubstr("but the image processor's size is 224"));
  EXPECT_THAT(ErrorWith("/num_query_tokens", 16), HasSubstr("processor_config.json: num_query_tokens is 32, but"));
  EXPECT_THAT(ErrorWith("/text_config/max_position_embeddings", 33), HasSubstr("leaves no room in 33 positions"));
  processor_.erase("size");
  EXPECT_THAT(Error(), HasSubstr("the image processor's size is 384"));
}

TEST_F(ConfigTest, RefusesPartsThatAreNotObjects) {
  for (const char* part : {"vision_config", "qformer_config", "text_config"}) {
    EXPECT_THAT(ErrorWith(std::string("/") + part, 3),
                HasSubstr(std::string("config.json: ") + part + " is not an object"));
  }
}

TEST_F(ConfigTest, RefusesTextThatIsNoJsonObject) {
  for (const char* text : {"", "{", "[]", "3", "{\"a\": NaN}", "{\"\xC3\": 1}"}) {
    WriteFile(folder_ / "config.json", text);
    EXPECT_THAT(std::string(LoadConfig(folder_).status().message()), StartsWith("config.json: not ")) << text;
  }
}

TEST_F(ConfigTest, RefusesDeepAndLongFiles) {
  WriteFile(folder_ / "config.json", R"({"a":)" + std::string(1 << 20, '['));
  EXPECT_THAT(std::string(LoadConfig(folder_).status().message()), HasSubstr("nested deeper than 64"));
  WriteFile(folder_ / "config.json", "{}");
  fs::resize_file(folder_ / "config.json", kMaxJsonBytes + 1);
  EXPECT_THAT(std::string(LoadConfig(folder_).status().message()), HasSubstr("longer than 16777216 bytes"));
}

TEST_F(ConfigTest, BracketsInsideStringsAreNotDepth) {
  WriteFile(folder_ / "config.json", R"({"a":"\")" + std::string(100, '[') + R"(", "image_token_index": 3})");
  WriteFile(folder_ / "preprocessor_config.json", kHubProcessor);
  EXPECT_TRUE(LoadConfig(folder_).ok());
}

TEST_F(ConfigTest, RefusesAPipeWithoutWaitingForItsWriter) {
  ASSERT_EQ(mkfifo((folder_ / "config.json").c_str(), 0600), 0);
  EXPECT_THAT(std::string(LoadConfig(folder_).status().message()), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace diptych::blip2
