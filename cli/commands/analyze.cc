// diptych analyze: what the vision transformer makes of an image.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/images/image.h"
#include "cli/questions/json.h"
#include "cli/questions/question_options.h"
#include "cli/terminal/text.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

struct AnalyzeOptions {
  CommonOptions common;
  std::vector<std::string> images;
  std::vector<int> image_sizes = {0};  // 0: the model's own
  int max_side = 0;
};

template <typename Shape>
std::string ShapeText(const Shape& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

v1::AnalyzeImageRequest AnalysisOf(const AnalyzeOptions& options, const std::string& bytes, int image_size) {
  v1::AnalyzeImageRequest request;
  request.mutable_image()->set_data(bytes);
  if (image_size > 0) request.mutable_options()->set_image_size(image_size);
  if (options.max_side > 0) request.mutable_options()->set_max_side(options.max_side);
  return request;
}

nlohmann::ordered_json AnalysisJson(const std::string& image, const v1::AnalyzeImageResponse& analysis,
                                    int query_tokens) {
  return {{"image", image},
          {"original_size", {analysis.image_size().width(), analysis.image_size().height()}},
          {"pixel_shape", std::vector<int>(analysis.pixel_shape().begin(), analysis.pixel_shape().end())},
          {"patch_grid", {analysis.patch_rows(), analysis.patch_columns()}},
          {"feature_shape", std::vector<int>(analysis.feature_shape().begin(), analysis.feature_shape().end())},
          {"visual_tokens", analysis.visual_tokens()},
          {"visual_width", analysis.visual_width()},
          {"mean_norm", analysis.mean_norm()},
          {"query_tokens", query_tokens}};
}

std::vector<std::string> AnalysisRow(const std::string& image, const v1::AnalyzeImageResponse& analysis,
                                     int query_tokens) {
  return {Printable(std::filesystem::path(image).filename().string()),
          absl::StrCat(analysis.image_size().width(), " x ", analysis.image_size().height()),
          ShapeText(analysis.pixel_shape()),
          absl::StrCat(analysis.patch_rows(), " x ", analysis.patch_columns()),
          ShapeText(analysis.feature_shape()),
          absl::StrCat(analysis.visual_tokens()),
          absl::StrCat(analysis.visual_width()),
          absl::StrFormat("%.2f", analysis.mean_norm()),
          absl::StrCat(query_tokens)};
}

int Analyze(const AnalyzeOptions& options) {
  auto client = Client::Open(options.common);
  if (!client.ok()) return ReportError(client.status(), options.common.json);
  const auto served = client->GetModel();
  if (!served.ok()) return ReportError(served.status(), options.common.json);
  const int query_tokens = served->model().query_tokens();
  std::vector<std::vector<std::string>> rows;
  int exit_code = kFine;
  for (const std::string& image : options.images) {
    const auto bytes = ReadImage(image);
    if (!bytes.ok()) {
      ReportError(bytes.status(), options.common.json, "--image");
      return kUsage;
    }
    for (const int size : options.image_sizes) {
      const auto analysis = client->AnalyzeImage(AnalysisOf(options, *bytes, size));
      if (!analysis.ok()) {
        exit_code = std::max(exit_code, ReportError(analysis.status(), options.common.json, image));
      } else if (options.common.json) {
        PrintJson(AnalysisJson(image, *analysis, query_tokens));
      } else {
        rows.push_back(AnalysisRow(image, *analysis, query_tokens));
      }
    }
  }
  if (!rows.empty()) {
    std::printf("%s", FormatTable({"image", "as sent", "pixels", "patches", "features", "visual tokens", "width",
                                   "mean norm", "query tokens"},
                                  rows, {5, 6, 7, 8})
                          .c_str());
  }
  return exit_code;
}

}  // namespace

void AddAnalyze(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("analyze", "Show shapes, token counts and norms of an image's visual tokens");
  const auto options = std::make_shared<AnalyzeOptions>();
  command.add_option("--image", options->images, "Image files (JPEG, PNG, WebP, GIF)")->required()->expected(1, -1);
  command
      .add_option("--image_size", options->image_sizes,
                  "Sides in pixels that the vision transformer sees [the model's]")
      ->delimiter(',')
      ->expected(1, 64)
      ->check(CLI::Range(1U, kMaxImageSide));
  command.add_option("--max_side", options->max_side, "Shrink to this longer side first")
      ->check(CLI::Range(1U, kMaxImageSide));
  options->common.AddTo(command);
  command.callback([options, &run] { run = [options] { return Analyze(*options); }; });
}

}  // namespace diptych::cli
