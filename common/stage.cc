#include "common/stage.h"

#include <array>
#include <cstddef>

namespace diptych {
namespace {

constexpr std::array<std::string_view, 15> kNames = {"gateway",      "image_decode",   "image_resize",   "vision_queue",
                                                     "vit",          "token_transfer", "language_queue", "tokenize",
                                                     "qformer",      "prefill",        "decode",         "detokenize",
                                                     "decode_queue", "delivery",       "relevance"};
static_assert(kNames.size() == static_cast<size_t>(Stage::kCount));

}  // namespace

std::string_view NameOf(Stage stage) {
  return kNames[static_cast<size_t>(stage)];
}

std::optional<Stage> StageNamed(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Stage>(i);
  }
  return std::nullopt;
}

}  // namespace diptych
