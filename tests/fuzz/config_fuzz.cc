// Any texts as the JSON files of a checkpoint, separated by lines of "%%". What is accepted must imply tensors
// whose sizes fit 64 bits; a refusal must be one printable line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "blip2/config.h"
#include "blip2/tensor_names.h"
#include "tests/testing/tiny_checkpoint.h"

namespace {

constexpr std::string_view kSeparator = "\n%%\n";
constexpr const char* kFiles[] = {"config.json", "preprocessor_config.json", "processor_config.json",
                                  "generation_config.json", "tokenizer.json"};

void Require(bool holds) {
  if (!holds) std::abort();
}

// A folder that goes at exit.
struct Folder {
  const std::filesystem::path path = diptych::testing::MakeTemporaryFolder();
  ~Folder() { std::filesystem::remove_all(path); }
};

// Writes one file for each part of the input; a file without a part is absent.
void WriteParts(std::string_view input, const std::filesystem::path& folder) {
  bool left = true;
  for (const char* name : kFiles) {
    if (!left) {
      std::filesystem::remove(folder / name);
      continue;
    }
    const size_t end = input.find(kSeparator);
    diptych::testing::WriteFile(folder / name, std::string(input.substr(0, end)));
    left = end != input.npos;
    if (left) input.remove_prefix(end + kSeparator.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace diptych::blip2;  // NOLINT
  static const Folder kFolder;
  WriteParts(std::string_view(reinterpret_cast<const char*>(data), size), kFolder.path);
  const auto config = LoadConfig(kFolder.path);
  if (!config.ok()) {
    for (const char c : config.status().message()) Require(c >= ' ' && c <= '~');
    return 0;
  }
  Require(config->vision.hidden_size % config->vision.num_attention_heads == 0);
  Require(config->image_token_id < config->text.vocab_size);
  for (const TensorSpec& spec : ExpectedTensors(*config)) {
    int64_t bytes = sizeof(float);
    for (const int64_t dimension : spec.shape) {
      Require(dimension > 0 && !__builtin_mul_overflow(bytes, dimension, &bytes));
    }
  }
  return 0;
}
