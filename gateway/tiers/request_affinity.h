// Affinity keys, equal for requests that share a cache entry of a tier.
#pragma once

#include <optional>

#include "common/replicas/replica_affinity.h"
#include "diptych/v1/inference.pb.h"
#include "diptych/v1/language.pb.h"
#include "diptych/v1/vision.pb.h"

namespace diptych::gateway {

// The question's first image, which a conversation keeps; without images, a conversation's first turn. Empty for a text
// without a past: nothing is cached that would be worth going back to.
std::optional<AffinityKey> AffinityOf(const v1::GenerateRequest& request);

// Its image: the replica that questions about it go to.
std::optional<AffinityKey> AffinityOf(const v1::AnalyzeQueriesRequest& request);

// Its image: the replica that the language tier pulls it from. Empty while the model, and so how the image is prepared,
// is not known.
std::optional<AffinityKey> AffinityOf(const v1::AnalyzeVisionRequest& request,
                                      const std::optional<v1::ModelDescription>& model);

}  // namespace diptych::gateway
