#include "tests/testing/tiny_checkpoint.h"

#include <stdlib.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>
#include <string_view>
#include <utility>

#include "blip2/checkpoint/tensor_names.h"
#include "tests/testing/tiny_tokenizer.h"

namespace diptych::testing {
namespace {

using nlohmann::json;
using Layout = TinyCheckpointOptions::Layout;

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

template <typename Integer>
void AppendLittleEndian(Integer value, size_t bytes, std::string& out) {
  for (size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

// Rounds to nearest even. Requires: a normal float16 or zero.
uint16_t ToFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  constexpr uint32_t kSmallestNormal = 0x38800000;  // 2^-14
  if (magnitude < kSmallestNormal) return static_cast<uint16_t>(sign);
  const uint32_t rebased = magnitude - kSmallestNormal + (1u << 23);
  return static_cast<uint16_t>(sign | (rebased + 0xFFF + (rebased >> 13 & 1)) >> 13);
}

uint16_t ToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

void AppendNumber(float value, const std::string& dtype, std::string& out) {
  if (dtype == "F16") {
    AppendLittleEndian(ToFloat16(value), 2, out);
  } else if (dtype == "BF16") {
    AppendLittleEndian(ToBFloat16(value), 2, out);
  } else {
    AppendLittleEndian(std::bit_cast<uint32_t>(value), 4, out);
  }
}

// The middle of the numbers of a tensor and how far they lie around it.
struct Spread {
  float middle = 0;
  float radius = 0.1f;  // of a bias
};

Spread SpreadOf(std::string_view name, const std::vector<int64_t>& shape) {
  const bool is_bias = name.ends_with("bias");
  if (shape.size() == 1) return is_bias ? Spread{} : Spread{.middle = 1, .radius = 0.2f};
  if (name.find("embed_") != name.npos || name.find("_embedding") != name.npos || name == "query_tokens") {
    return Spread{.radius = 1};
  }
  int64_t inputs = 1;
  for (size_t i = 1; i < shape.size(); ++i) inputs *= shape[i];
  return Spread{.radius = 3 / std::sqrt(static_cast<float>(inputs))};
}

json VisionJson(const blip2::VisionConfig& vision) {
  return {{"model_type", "blip_2_vision_model"},
          {"hidden_size", vision.hidden_size},
          {"intermediate_size", vision.intermediate_size},
          {"num_hidden_layers", vision.num_hidden_layers},
          {"num_attention_heads", vision.num_attention_heads},
          {"image_size", vision.image_size},
          {"patch_size", vision.patch_size},
          {"layer_norm_eps", vision.layer_norm_eps},
          {"qkv_bias", vision.qkv_bias},
          {"hidden_act", "gelu"}};
}

json QFormerJson(const blip2::QFormerConfig& qformer) {
  return {{"model_type", "blip_2_qformer"},
          {"hidden_size", qformer.hidden_size},
          {"num_hidden_layers", qformer.num_hidden_layers},
          {"num_attention_heads", qformer.num_attention_heads},
          {"intermediate_size", qformer.intermediate_size},
          {"cross_attention_frequency", qformer.cross_attention_frequency},
          {"layer_norm_eps", qformer.layer_norm_eps},
          {"hidden_act", "gelu"}};
}

json TextJson(const blip2::TextConfig& text) {
  return {{"model_type", "opt"},
          {"vocab_size", text.vocab_size},
          {"hidden_size", text.hidden_size},
          {"word_embed_proj_dim", text.word_embed_proj_dim},
          {"ffn_dim", text.ffn_dim},
          {"num_hidden_layers", text.num_hidden_layers},
          {"num_attention_heads", text.num_attention_heads},
          {"max_position_embeddings", text.max_position_embeddings},
          {"do_layer_norm_before", text.do_layer_norm_before},
          {"_remove_final_layer_norm", text.remove_final_layer_norm},
          {"enable_bias", text.enable_bias},
          {"layer_norm_elementwise_affine", text.layer_norm_elementwise_affine},
          {"tie_word_embeddings", text.tie_word_embeddings},
          {"bos_token_id", text.bos_token_id},
          {"pad_token_id", text.pad_token_id},
          {"eos_token_id", text.eos_token_ids},
          {"activation_function", "relu"}};
}

json ImageProcessorJson(const blip2::ImageProcessorConfig& processor) {
  return {{"image_processor_type", "BlipImageProcessor"},
          {"do_convert_rgb", true},
          {"do_resize", true},
          {"do_rescale", true},
          {"do_normalize", true},
          {"size", {{"height", processor.image_size}, {"width", processor.image_size}}},
          {"resample", processor.resample},
          {"rescale_factor", processor.rescale_factor},
          {"image_mean", processor.image_mean},
          {"image_std", processor.image_std}};
}

TinyJsonFiles JsonFiles(const blip2::Config& config, Layout layout) {
  TinyJsonFiles files;
  files["config.json"] = {{"architectures", {"Blip2ForConditionalGeneration"}},
                          {"model_type", "blip-2"},
                          {"num_query_tokens", config.num_query_tokens},
                          {"image_token_index", config.image_token_id},
                          {"vision_config", VisionJson(config.vision)},
                          {"qformer_config", QFormerJson(config.qformer)},
                          {"text_config", TextJson(config.text)}};
  json& processor = files["processor_config.json"];
  processor = {{"num_query_tokens", config.num_query_tokens}, {"processor_class", "Blip2Processor"}};
  const json image_processor = ImageProcessorJson(config.image_processor);
  if (layout == Layout::kTransformers5) {
    processor["image_processor"] = image_processor;
  } else {
    files["preprocessor_config.json"] = image_processor;
  }
  files["generation_config.json"] = {{"max_new_tokens", config.default_max_new_tokens}};
  files["tokenizer_config.json"] = {{"tokenizer_class", "GPT2Tokenizer"}, {"add_bos_token", true}};
  files["added_tokens.json"] = {{"<image>", config.image_token_id}};
  files["vocab.json"] = MakeTinyTokenizer().vocabulary;
  if (layout == Layout::kLegacy) {
    files["config.json"].erase("image_token_index");
    for (const char* later : {"processor_config.json", "generation_config.json", "added_tokens.json"})
      files.erase(later);
  }
  return files;
}

std::string ShardName(int shard, int shards) {
  char name[64];
  std::snprintf(name, sizeof(name), "model-%05d-of-%05d.safetensors", shard + 1, shards);
  return name;
}

}  // namespace

blip2::Config TinyCheckpointConfig() {
  blip2::Config config;
  config.vision = {
      .hidden_size = 32, .intermediate_size = 48, .num_hidden_layers = 2, .num_attention_heads = 4, .image_size = 28};
  config.qformer = {.hidden_size = 24, .num_hidden_layers = 2, .num_attention_heads = 4, .intermediate_size = 40};
  config.text.vocab_size = 288;  // some rows that no token uses, as in the full model
  config.text.hidden_size = 32;
  config.text.word_embed_proj_dim = 32;
  config.text.ffn_dim = 64;
  config.text.num_hidden_layers = 2;
  config.text.num_attention_heads = 4;
  config.text.max_position_embeddings = 128;
  config.image_processor.image_size = 28;
  config.num_query_tokens = 4;
  config.image_token_id = kTinyImageToken;
  return config;
}

TinyTensors RandomTensors(const blip2::Config& config, const std::string& dtype, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<blip2::TensorSpec> specs = blip2::ExpectedTensors(config);
  if (!config.text.tie_word_embeddings) {
    specs.push_back({std::string(blip2::kLmHead), blip2::LmHeadShape(config)});
  }
  TinyTensors tensors;
  for (const blip2::TensorSpec& spec : specs) {
    TinyTensor& tensor = tensors[spec.name];
    tensor.dtype = dtype;
    tensor.shape = spec.shape;
    int64_t count = 1;
    for (const int64_t size : spec.shape) count *= size;
    const Spread spread = SpreadOf(spec.name, spec.shape);
    for (int64_t i = 0; i < count; ++i) {
      // 24 bits, because std::uniform_real_distribution differs between standard libraries.
      const float uniform = static_cast<float>(random() >> 40) / static_cast<float>(1 << 23) - 1;  // [-1, 1)
      AppendNumber(spread.middle + spread.radius * uniform, dtype, tensor.bytes);
    }
  }
  return tensors;
}

std::string SafetensorsBytes(const std::string& header, const std::string& data) {
  std::string file;
  AppendLittleEndian(static_cast<uint64_t>(header.size()), 8, file);
  return file + header + data;
}

std::string SafetensorsBytes(const TinyTensors& tensors) {
  json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const size_t begin = data.size();
    data += tensor.bytes;
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // aligns the data, as the format's own writer does
  return SafetensorsBytes(text, data);
}

std::filesystem::path MakeTemporaryFolder() {
  std::string path = std::filesystem::temp_directory_path() / "diptych-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) Die("mkdtemp");
  return path;
}

void WriteFile(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream stream(file, std::ios::binary);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream) Die("write");
}

TinyCheckpoint::TinyCheckpoint(const TinyCheckpointOptions& options) : folder_(MakeTemporaryFolder()) {
  TinyTensors tensors = RandomTensors(options.config, options.dtype, options.seed);
  if (options.layout == Layout::kLegacy) {
    tensors.emplace(blip2::kLmHead, tensors.at(std::string(blip2::kEmbedTokens)));
  }
  if (options.edit_tensors) options.edit_tensors(tensors);

  TinyJsonFiles json_files = JsonFiles(options.config, options.layout);
  std::vector<TinyTensors> shards(options.shards);
  json& index = json_files["model.safetensors.index.json"];
  size_t next = 0;
  for (const auto& [name, tensor] : tensors) {
    const int shard = static_cast<int>(next++ % shards.size());
    shards[shard][name] = tensor;
    index["weight_map"][name] = ShardName(shard, options.shards);
  }
  if (options.shards == 1) json_files.erase("model.safetensors.index.json");
  if (options.edit_json) options.edit_json(json_files);

  for (const auto& [name, content] : json_files) WriteFile(folder_ / name, content.dump());
  WriteFile(folder_ / "merges.txt", MakeTinyTokenizer().merges);
  for (int shard = 0; shard < options.shards; ++shard) {
    const std::string name = options.shards == 1 ? "model.safetensors" : ShardName(shard, options.shards);
    WriteFile(folder_ / name, SafetensorsBytes(shards[shard]));
  }
}

TinyCheckpoint::~TinyCheckpoint() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace diptych::testing
