// diptych attention: where the model looks, as a heat map over the image.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "cli/charts/gnuplot.h"
#include "cli/charts/write_file.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/images/heat_map.h"
#include "cli/images/image.h"
#include "cli/images/image_source.h"
#include "cli/questions/json.h"
#include "cli/questions/question_options.h"
#include "cli/terminal/interrupt.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

struct AttentionOptions {
  CommonOptions common;
  std::string image, out, map = "cls";
  int image_size = 0;  // pixels; 0: the model's own
};

// "query:N": N, else nothing.
std::optional<int> QueryOf(const std::string& map) {
  int query = -1;
  absl::string_view number = map;
  if (!absl::ConsumePrefix(&number, "query:") || !absl::SimpleAtoi(number, &query) || query < 0) return std::nullopt;
  return query;
}

bool IsMap(const std::string& map) {
  return map == "cls" || map == "queries" || QueryOf(map).has_value();
}

absl::StatusOr<v1::AttentionMap> WantedMap(const v1::AnalyzeImageResponse& analysis, const std::string& map) {
  if (map == "cls") return analysis.cls_attention();
  if (map == "queries") return analysis.mean_query_attention();
  const int query = QueryOf(map).value_or(-1);
  if (query < analysis.query_attention_size()) return analysis.query_attention(query);
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kOptionRange,
                   absl::StrCat("the model has the queries 0 to ", analysis.query_attention_size() - 1));
}

absl::Status WriteOverlay(const AttentionOptions& options, const v1::AnalyzeImageResponse& analysis,
                          const v1::FloatGrid& grid) {
  DIPTYCH_ASSIGN_OR_RETURN(const Image prepared, ReadPng(analysis.prepared_image()));
  DIPTYCH_ASSIGN_OR_RETURN(const std::string png, WritePng(HeatMap(prepared, grid, analysis.image_size())));
  return WriteFile(options.out, png);
}

void PrintMap(const AttentionOptions& options, const v1::AttentionMap& map) {
  if (options.common.json) {
    nlohmann::ordered_json object{{"image", options.image}, {"map", options.map}};
    object.update(ToJson(map));
    object["out"] = options.out;
    PrintJson(object);
    return;
  }
  std::printf("%s", BlockMap(map.patches()).c_str());
  std::printf("%s: %d x %d patches, %.1f %% on the class token%s%s\n", options.map.c_str(), map.patches().rows(),
              map.patches().columns(), 100 * map.class_token(), options.out.empty() ? "" : "; overlay in ",
              options.out.c_str());
}

int Attention(const AttentionOptions& options) {
  const auto failed = [&](const absl::Status& status) { return ReportError(status, options.common.json); };
  if (const absl::Status status = CheckOutputFile("--out", options.out); !status.ok()) return failed(status);
  CatchInterrupts();
  const auto bytes = ReadImage(options.image);
  if (Interrupted()) return ReportInterrupt(options.common.json);
  if (!bytes.ok()) return ReportUsage(bytes.status(), options.common.json);
  v1::AnalyzeImageRequest request;
  request.mutable_image()->set_data(*bytes);
  if (options.image_size > 0) request.mutable_options()->set_image_size(options.image_size);
  request.set_cls_attention(options.map == "cls");
  request.set_qformer_attention(options.map != "cls");
  request.set_prepared_image(!options.out.empty());
  auto client = Client::Open(options.common);
  if (!client.ok()) return failed(client.status());
  const auto analysis = client->AnalyzeImage(request);
  if (!analysis.ok()) return failed(analysis.status());
  const auto map = WantedMap(*analysis, options.map);
  if (!map.ok()) return failed(map.status());
  if (const absl::Status status = CheckGrid(map->patches()); !status.ok()) return failed(status);
  if (!options.out.empty()) {
    if (const absl::Status status = WriteOverlay(options, *analysis, map->patches()); !status.ok())
      return failed(status);
  }
  PrintMap(options, *map);
  return kFine;
}

}  // namespace

void AddAttention(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("attention", "Show where the model looks, as a heat map over the image");
  const auto options = std::make_shared<AttentionOptions>();
  AddImage(command, options->image, "Image: a file (JPEG, PNG, WebP, GIF), - for standard input, or an https address")
      ->required();
  command.add_option("-o,--out", options->out, "PNG file for the heat map over the image")
      ->check([](const std::string& file) {
        return PlotFormatOf(file) == PlotFormat::kPng
                   ? std::string()
                   : absl::StrCat("takes a file whose name ends with .png, not \"", file, "\"");
      });
  command
      .add_option("--map", options->map,
                  "cls: the class token's attention in the last vision layer; queries: the Q-Former's cross-attention, "
                  "averaged; query:N: that of query N, from 0")
      ->check([](const std::string& map) {
        return IsMap(map) ? std::string() : absl::StrCat("takes cls, queries or query:N, not \"", map, "\"");
      })
      ->capture_default_str();
  command.add_option("--image_size", options->image_size, "Side in pixels that the vision transformer sees")
      ->check(CLI::Range(1U, kMaxImageSide));
  options->common.AddTo(command);
  command.callback([options, &run] { run = [options] { return Attention(*options); }; });
}

}  // namespace diptych::cli
