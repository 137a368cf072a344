// diptych models: what is served, and within which limits.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/questions/json.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

void PrintModel(const v1::GetModelResponse& response) {
  const v1::ModelDescription& model = response.model();
  std::printf("%s  %s on %s, vision fingerprint %s\n", Printable(model.name()).c_str(), model.dtype().c_str(),
              model.device().c_str(), model.fingerprint().substr(0, 12).c_str());
  std::printf("image  %d x %d pixels, patches of %d: %d visual tokens of width %d, %d query tokens\n",
              model.image_size(), model.image_size(), model.patch_size(), model.visual_tokens(), model.visual_width(),
              model.query_tokens());
  std::printf("context  %s tokens, %d for the answer by default\n\n", FormatCount(model.window_tokens()).c_str(),
              model.default_max_new_tokens());
  std::vector<std::vector<std::string>> rows;
  for (const v1::ModelPart& part : model.parts()) {
    rows.push_back({part.name(), FormatCount(part.parameters()), FormatBytes(part.bytes()), part.dtype()});
  }
  std::printf("%s\n", FormatTable({"part", "parameters", "memory", "dtype"}, rows, {1, 2}).c_str());
  const v1::Limits& limits = response.limits();
  std::printf("limits  %d images of %s and %s pixels; %s bytes of text; %d questions at a time\n", limits.max_images(),
              FormatBytes(limits.max_image_bytes()).c_str(), FormatCount(limits.max_image_pixels()).c_str(),
              FormatCount(limits.max_prompt_bytes()).c_str(), limits.max_inflight());
}

int Models(const CommonOptions& options) {
  auto client = Client::Open(options);
  if (!client.ok()) return ReportError(client.status(), options.json);
  const auto response = client->GetModel();
  if (!response.ok()) return ReportError(response.status(), options.json);
  if (options.json) {
    PrintJson(ToJson(*response));
  } else {
    PrintModel(*response);
  }
  return kFine;
}

}  // namespace

void AddModels(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("models", "Show the served model and the limits");
  const auto options = std::make_shared<CommonOptions>();
  options->AddTo(command);
  command.callback([options, &run] { run = [options] { return Models(*options); }; });
}

}  // namespace diptych::cli
