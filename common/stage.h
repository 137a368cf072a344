// The stages of a request, with their names in timings, metrics and errors.
#pragma once

#include <optional>
#include <string_view>

namespace diptych {

enum class Stage {
  kGateway,
  kImageDecode,
  kImageResize,
  kVisionQueue,
  kVit,
  kTokenTransfer,
  kLanguageQueue,
  kTokenize,
  kQFormer,
  kPrefill,
  kDecode,
  kDetokenize,
  kDecodeQueue,
  kDelivery,
  kRelevance,
  kCount
};

// The stage's field in v1::StageTimings: "vision_queue".
std::string_view NameOf(Stage stage);

// The inverse; nullopt for any other text.
std::optional<Stage> StageNamed(std::string_view name);

}  // namespace diptych
