// From the visual tokens of one image to what the decoder reads.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "language_service/engine/query_tokens.h"
#include "language_service/engine/visual_tokens.h"
#include "language_service/served_model.h"

namespace diptych::language {

// Q-Former and projection; `with_attention` also keeps where the queries looked. Throws nothing: INTERNAL if the model
// fails on these tokens or makes numbers of them that are not finite. Confined to the engine thread.
absl::StatusOr<std::shared_ptr<const QueryTokens>> ProjectImage(const ServedLanguageModel& model, VisualTokens tokens,
                                                                std::string image_key, bool with_attention);

}  // namespace diptych::language
