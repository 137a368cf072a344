// diptych analyze: what the vision transformer makes of an image.
#include <CLI/CLI.hpp>
#include <cstdio>
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
#include "cli/images/image_source.h"
#include "cli/questions/json.h"
#include "cli/questions/question_options.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/progress.h"
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
  return {OneLine(NameOfImage(image)),
          absl::StrCat(analysis.image_size().width(), " x ", analysis.image_size().height()),
          ShapeText(analysis.pixel_shape()),
          absl::StrCat(analysis.patch_rows(), " x ", analysis.patch_columns()),
          ShapeText(analysis.feature_shape()),
          absl::StrCat(analysis.visual_tokens()),
          absl::StrCat(analysis.visual_width()),
          absl::StrFormat("%.2f", analysis.mean_norm()),
          absl::StrCat(query_tokens)};
}

const std::vector<std::string> kImageColumns = {"image",         "as sent", "pixels",    "patches",     "features",
                                                "visual tokens", "width",   "mean norm", "query tokens"};

class Analyses {
 public:
  Analyses(Client& client, const AnalyzeOptions& options, int query_tokens)
      : client_(client),
        options_(options),
        query_tokens_(query_tokens),
        progress_("analyzed", options.images.size() * options.image_sizes.size(), options.common.json) {}

  int Run() {
    for (const std::string& image : options_.images) {
      const auto bytes = ReadImage(image);
      if (!bytes.ok()) {
        exit_code_ = Interrupted() ? kInterrupted : ReportUsage(bytes.status(), options_.common.json);
        break;
      }
      for (const int size : options_.image_sizes) Analyze(image, *bytes, size);
    }
    if (!rows_.empty()) {
      progress_.Around([&] { std::printf("%s", FormatTable(kImageColumns, rows_, {5, 6, 7, 8}).c_str()); });
    }
    return Interrupted() ? ReportInterrupt(options_.common.json, progress_.Text()) : exit_code_;
  }

 private:
  void Analyze(const std::string& image, const std::string& bytes, int size) {
    if (Interrupted()) return;
    const auto analysis = client_.AnalyzeImage(AnalysisOf(options_, bytes, size));
    if (Interrupted()) return;
    progress_.Step();
    if (analysis.ok() && !options_.common.json) return rows_.push_back(AnalysisRow(image, *analysis, query_tokens_));
    progress_.Around([&] {
      if (analysis.ok()) return PrintJson(AnalysisJson(image, *analysis, query_tokens_));
      exit_code_ = std::max(exit_code_, ReportError(analysis.status(), options_.common.json, image));
    });
  }

  Client& client_;
  const AnalyzeOptions& options_;
  const int query_tokens_;
  Progress progress_;
  std::vector<std::vector<std::string>> rows_;
  int exit_code_ = kFine;
};

int Analyze(const AnalyzeOptions& options) {
  for (const std::string& image : options.images) {
    if (const absl::Status status = CheckImageSource(image); !status.ok())
      return ReportUsage(status, options.common.json);
  }
  auto client = Client::Open(options.common);
  if (!client.ok()) return ReportError(client.status(), options.common.json);
  const auto served = client->GetModel();
  if (!served.ok()) return ReportError(served.status(), options.common.json);
  return Analyses(*client, options, served->model().query_tokens()).Run();
}

}  // namespace

void AddAnalyze(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("analyze", "Show shapes, token counts and norms of an image's visual tokens");
  const auto options = std::make_shared<AnalyzeOptions>();
  AddImages(command, options->images, "Images: files (JPEG, PNG, WebP, GIF), - for standard input, or https addresses")
      ->required();
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
