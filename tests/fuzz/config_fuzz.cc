// Any texts as the JSON files of a checkpoint, separated by lines of "%%". What is accepted must imply tensors
// whose sizes fit 64 bits; a refusal must be one printable line.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "blip2/checkpoint/config.h"
#include "blip2/checkpoint/tensor_names.h"
#include "tests/fuzz/checkpoint_files.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::config {
namespace {

constexpr const char* kFiles[] = {"config.json", "preprocessor_config.json", "processor_config.json",
                                  "generation_config.json", "tokenizer.json"};

}  // namespace

DIPTYCH_FUZZ_TARGET(config) {
  using namespace diptych::blip2;  // NOLINT
  using namespace diptych::fuzz;   // NOLINT
  static const Folder kFolder;
  std::string_view input = TextOf(data, size);
  WriteParts(input, kFiles, kFolder.path);
  const auto config = LoadConfig(kFolder.path);
  if (!config.ok()) {
    RequirePrintable(config.status());
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

}  // namespace diptych::fuzz::config
