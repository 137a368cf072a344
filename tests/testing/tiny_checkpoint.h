// Writes complete checkpoint folders of a few kilobytes, good and bad ones.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "blip2/checkpoint/config.h"

namespace diptych::testing {

// One tensor as a safetensors file holds it.
struct TinyTensor {
  std::string dtype;  // "F32", "BF16", "F16" or whatever a test wants to be refused
  std::vector<int64_t> shape;
  std::string bytes;  // little-endian
};
using TinyTensors = std::map<std::string, TinyTensor>;
using TinyJsonFiles = std::map<std::string, nlohmann::json>;  // file name -> content

// 28 × 28 pixels, 4 patches, 4 query tokens, two layers of each kind, the vocabulary of TinyTokenizer.
blip2::Config TinyCheckpointConfig();

struct TinyCheckpointOptions {
  enum class Layout {
    kCurrent,        // as the hub repository is today
    kLegacy,         // as it was before November 2024: no image token, lm_head.weight stored
    kTransformers5,  // as transformers 5 saves it: one processor_config.json
  };

  // The model. Fields that are not served cannot be said here: use edit_json.
  blip2::Config config = TinyCheckpointConfig();
  Layout layout = Layout::kCurrent;
  std::string dtype = "F32";  // F32, BF16 or F16
  uint64_t seed = 1;          // the same seed gives the same weights, in each layout and sharding
  int shards = 1;             // more than 1: an index and that many shards
  // Called before anything is written, to drop, add, reshape or corrupt.
  std::function<void(TinyTensors&)> edit_tensors = nullptr;
  // As edit_tensors; among the files is the shards' index.
  std::function<void(TinyJsonFiles&)> edit_json = nullptr;
};

// A checkpoint in a temporary folder, which goes with this object. Ends the test program if it cannot be written.
class TinyCheckpoint {
 public:
  explicit TinyCheckpoint(const TinyCheckpointOptions& options = {});
  ~TinyCheckpoint();
  TinyCheckpoint(const TinyCheckpoint&) = delete;
  TinyCheckpoint& operator=(const TinyCheckpoint&) = delete;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

// The tensors that `config` implies: uniform numbers in proportion to 1/sqrt(inputs), layer norms near 1.
TinyTensors RandomTensors(const blip2::Config& config, const std::string& dtype, uint64_t seed);

// A safetensors file of these tensors in the order of their names.
std::string SafetensorsBytes(const TinyTensors& tensors);
// A safetensors file of any header, well-formed or not.
std::string SafetensorsBytes(const std::string& header, const std::string& data);

// A folder of its own below the system's temporary folder; the caller removes it.
std::filesystem::path MakeTemporaryFolder();
// Ends the test program if the file cannot be written.
void WriteFile(const std::filesystem::path& file, const std::string& bytes);

}  // namespace diptych::testing
