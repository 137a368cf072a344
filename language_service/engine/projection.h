// From the visual tokens of images to what the decoder reads.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "language_service/engine/engine_inbox.h"
#include "language_service/engine/query_tokens.h"
#include "language_service/served_model.h"

namespace diptych::language {

using ProjectedImage = absl::StatusOr<std::shared_ptr<const QueryTokens>>;

// How many of the images at the front the Q-Former may read in one pass: as many visual tokens each, of one type, and
// nobody wants to see where its queries looked. Requires: at least one image.
size_t AlikeAtTheFront(std::span<const Projection> images);

// Q-Former and projection of images that are alike, in one pass, or of a single one, which may also keep where the
// queries looked. Throws nothing; a result for each image, in their order: INTERNAL if the model fails on its tokens or
// makes numbers of them that are not finite, which fails no other image. Confined to the engine thread.
std::vector<ProjectedImage> ProjectImages(const ServedLanguageModel& model, std::span<Projection> images);

}  // namespace diptych::language
