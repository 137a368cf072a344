#include "tests/testing/planted_checkpoint.h"

#include <ATen/ATen.h>

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "blip2/checkpoint/config.h"
#include "blip2/checkpoint/safetensors.h"
#include "tests/testing/tiny_checkpoint.h"

namespace diptych::testing {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

constexpr int64_t kChannels = 4;

Tensors ReadTensors(const std::filesystem::path& file) {
  Tensors tensors;
  const auto opened = blip2::SafetensorsFile::Open(file);
  for (const auto& [name, entry] : (*opened)->tensors()) {
    at::Tensor tensor = at::empty(entry.shape, entry.dtype);
    std::memcpy(tensor.data_ptr(), entry.data.data(), entry.data.size());
    tensors[name] = tensor.to(at::kFloat);
  }
  return tensors;
}

void WriteTensors(const std::filesystem::path& file, const Tensors& tensors) {
  TinyTensors written;
  for (const auto& [name, tensor] : tensors) {
    written[name] = {.dtype = "F32",
                     .shape = tensor.sizes().vec(),
                     .bytes = std::string(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes())};
  }
  WriteFile(file, SafetensorsBytes(written));
}

// Other channels for each `turn`.
at::Tensor Channels(int64_t width, int64_t turn) {
  std::vector<int64_t> channels;
  for (int64_t i = 0; i < kChannels; ++i) channels.push_back((17 * turn + 31 * i) % width);
  return at::tensor(channels);
}

void Scale(at::Tensor& tensor, int64_t dim, const at::Tensor& places, double factor) {
  tensor.index_copy_(dim, places, tensor.index_select(dim, places).mul_(factor));
}

// `larger` grow along their first dimension, from place `begin` on, and the next maps' columns shrink.
void Move(Tensors& tensors, double gain, const std::vector<std::string>& larger, int64_t begin,
          const std::vector<std::string>& next) {
  static int64_t turn = 0;
  const at::Tensor channels = Channels(tensors.at(next[0]).size(1), ++turn);
  for (const std::string& name : larger) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) continue;
    Scale(found->second, 0, channels + begin, gain);
  }
  for (const std::string& name : next) Scale(tensors.at(name), 1, channels, 1 / gain);
}

std::vector<std::string> WeightAndBias(const std::string& name) {
  return {name + ".weight", name + ".bias"};
}

// Keys grow and queries shrink, whose products stay.
void PlantInKeys(Tensors& tensors, const std::string& attention, int64_t turn, double gain) {
  const at::Tensor channels = Channels(tensors.at(attention + "k_proj.weight").size(0), turn);
  for (const std::string& name : WeightAndBias(attention + "k_proj")) Scale(tensors.at(name), 0, channels, gain);
  for (const std::string& name : WeightAndBias(attention + "q_proj")) Scale(tensors.at(name), 0, channels, 1 / gain);
}

void PlantInDecoder(Tensors& tensors, const blip2::TextConfig& config, double gain) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string layer = "language_model.model.decoder.layers." + std::to_string(i) + ".";
    const std::string attention = layer + "self_attn.";
    Move(tensors, gain, WeightAndBias(layer + "self_attn_layer_norm"), 0,
         {attention + "q_proj.weight", attention + "k_proj.weight", attention + "v_proj.weight"});
    PlantInKeys(tensors, attention, i, gain);
    Move(tensors, gain, WeightAndBias(attention + "v_proj"), 0, {attention + "out_proj.weight"});
    Move(tensors, gain, WeightAndBias(layer + "final_layer_norm"), 0, {layer + "fc1.weight"});
    Move(tensors, gain, WeightAndBias(layer + "fc1"), 0, {layer + "fc2.weight"});
  }
}

void PlantInVision(Tensors& tensors, const blip2::VisionConfig& config, double gain) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string layer = "vision_model.encoder.layers." + std::to_string(i) + ".";
    Move(tensors, gain, WeightAndBias(layer + "layer_norm1"), 0, {layer + "self_attn.qkv.weight"});
    Move(tensors, gain, WeightAndBias(layer + "self_attn.qkv"), 2 * config.hidden_size,
         {layer + "self_attn.projection.weight"});
    Move(tensors, gain, WeightAndBias(layer + "layer_norm2"), 0, {layer + "mlp.fc1.weight"});
  }
}

// Outliers among the visual tokens: what the Q-Former's cross-attention reads.
void PlantInVisualTokens(Tensors& tensors, double gain) {
  std::vector<std::string> readers;
  for (const auto& [name, tensor] : tensors) {
    if (name.find("crossattention.attention.key.weight") != name.npos) readers.push_back(name);
    if (name.find("crossattention.attention.value.weight") != name.npos) readers.push_back(name);
  }
  Move(tensors, gain, WeightAndBias("vision_model.post_layernorm"), 0, readers);
}

}  // namespace

PlantedCheckpoint::PlantedCheckpoint(const std::filesystem::path& original, double gain)
    : folder_(MakeTemporaryFolder()) {
  for (const auto& entry : std::filesystem::directory_iterator(original)) {
    if (entry.path().extension() == ".json" || entry.path().extension() == ".txt") {
      std::filesystem::copy(entry.path(), folder_ / entry.path().filename());
    }
  }
  const blip2::Config config = *blip2::LoadConfig(original);
  Tensors tensors = ReadTensors(original / "model.safetensors");
  if (gain != 1) {
    PlantInDecoder(tensors, config.text, gain);
    PlantInVision(tensors, config.vision, gain);
    PlantInVisualTokens(tensors, gain);
  }
  WriteTensors(folder_ / "model.safetensors", tensors);
}

PlantedCheckpoint::~PlantedCheckpoint() {
  std::filesystem::remove_all(folder_);
}

}  // namespace diptych::testing
