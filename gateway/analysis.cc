#include "gateway/analysis.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/status.h"

namespace diptych::gateway {
namespace {

absl::Status Contradiction() {
  return MakeError(absl::StatusCode::kInternal, reason::kTierProtocol, "a tier sent an analysis of another shape");
}

bool HasShape(const v1::AttentionMap& map, int rows, int columns) {
  const v1::FloatGrid& grid = map.patches();
  return grid.rows() == rows && grid.columns() == columns && grid.values_size() == int64_t{rows} * columns;
}

// Requires: at least one map; all of one shape.
v1::AttentionMap MeanOf(const google::protobuf::RepeatedPtrField<v1::AttentionMap>& maps) {
  std::vector<double> sums(static_cast<size_t>(maps[0].patches().values_size()));
  double class_token = 0;
  for (const v1::AttentionMap& map : maps) {
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += map.patches().values(static_cast<int>(i));
    class_token += map.class_token();
  }
  v1::AttentionMap mean;
  mean.mutable_patches()->set_rows(maps[0].patches().rows());
  mean.mutable_patches()->set_columns(maps[0].patches().columns());
  for (const double sum : sums) mean.mutable_patches()->add_values(static_cast<float>(sum / maps.size()));
  mean.set_class_token(static_cast<float>(class_token / maps.size()));
  return mean;
}

}  // namespace

absl::Status CheckAnalysisOptions(const v1::AnalyzeImageRequest& request) {
  const bool maps = request.cls_attention() || request.qformer_attention();
  if (!maps || request.options().token_merging() == 0) return absl::OkStatus();
  return InvalidField(reason::kOptionRange, "options.token_merging",
                      "token_merging takes 0 for attention maps: a merged token has no one place");
}

absl::StatusOr<v1::AnalyzeImageResponse> MergeAnalysis(const v1::AnalyzeImageRequest& request,
                                                       v1::AnalyzeVisionResponse vision,
                                                       v1::AnalyzeQueriesResponse queries) {
  if (vision.patch_size() < 1 || vision.pixel_height() < vision.patch_size() ||
      vision.pixel_width() < vision.patch_size()) {
    return Contradiction();
  }
  const int rows = vision.pixel_height() / vision.patch_size();
  const int columns = vision.pixel_width() / vision.patch_size();
  if (request.cls_attention() && !HasShape(vision.cls_attention(), rows, columns)) return Contradiction();
  auto& maps = *queries.mutable_query_attention();
  const bool maps_fit =
      std::all_of(maps.begin(), maps.end(), [&](const auto& map) { return HasShape(map, rows, columns); });
  if (request.qformer_attention() && (maps.empty() || !maps_fit)) return Contradiction();

  v1::AnalyzeImageResponse response;
  for (const int side : {1, 3, vision.pixel_height(), vision.pixel_width()}) response.add_pixel_shape(side);
  response.set_patch_rows(rows);
  response.set_patch_columns(columns);
  for (const int size : {1, vision.tokens(), vision.width()}) response.add_feature_shape(size);
  response.set_visual_tokens(vision.tokens());
  response.set_visual_width(vision.width());
  response.set_mean_norm(vision.mean_norm());
  if (request.cls_attention()) *response.mutable_cls_attention() = std::move(*vision.mutable_cls_attention());
  if (request.qformer_attention()) {
    *response.mutable_mean_query_attention() = MeanOf(maps);
    *response.mutable_query_attention() = std::move(maps);
  }
  if (request.prepared_image()) response.set_prepared_image(std::move(*vision.mutable_prepared_image()));
  *response.mutable_image_size() = std::move(*vision.mutable_image_size());
  return response;
}

}  // namespace diptych::gateway
