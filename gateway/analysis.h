// What the two tiers say about one picture, checked and put together.
#pragma once

#include "absl/status/statusor.h"
#include "diptych/v1/gateway.pb.h"
#include "diptych/v1/language.pb.h"
#include "diptych/v1/vision.pb.h"

namespace diptych::gateway {

// INVALID_ARGUMENT with OPTION_RANGE if maps are asked for together with token merging.
absl::Status CheckAnalysisOptions(const v1::AnalyzeImageRequest& request);

// `queries` is empty unless request.qformer_attention(). Takes the maps out of both. All but request_id is filled in.
// INTERNAL with TIER_PROTOCOL if a tier's answer contradicts itself, the request or the other one.
absl::StatusOr<v1::AnalyzeImageResponse> MergeAnalysis(const v1::AnalyzeImageRequest& request,
                                                       v1::AnalyzeVisionResponse vision,
                                                       v1::AnalyzeQueriesResponse queries);

}  // namespace diptych::gateway
