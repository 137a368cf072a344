// diptych pull: a model from Hugging Face's hub into its cache.
#include "cli/pull/pull.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/questions/json.h"
#include "cli/terminal/interrupt.h"
#include "common/models/hub_cache.h"
#include "common/models/hub_name.h"
#include "common/models/model_folder.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

struct PullCommand {
  std::string model;
  PullOptions pull;
};

void SayPull(const std::string& line) {
  std::fprintf(stderr, "[pull] %s\n", line.c_str());
}

// The cached folder, where the hub may not be asked.
absl::StatusOr<Pulled> FindOffline(const HubName& name) {
  const auto snapshot = FindSnapshot(HubCache(), name);
  if (snapshot.ok()) return Pulled{.folder = snapshot->string(), .commit = snapshot->filename().string()};
  return WithRemedy(MakeError(absl::StatusCode::kFailedPrecondition, "HUB_OFFLINE",
                              absl::StrCat("HF_HUB_OFFLINE forbids to ask the hub, and ", snapshot.status().message())),
                    "Unset HF_HUB_OFFLINE to pull it.");
}

std::string Meant(const std::string& model) {
  const std::string name = NameInAddress(model);
  return name.empty() ? NearestCachedModel(model) : absl::StrCat("; did you mean ", name, "?");
}

int RunPull(const PullCommand& options) {
  const bool json = options.pull.json;
  const std::optional<HubName> name = ParseHubName(options.model);
  if (!name) {
    return ReportError(
        WithRemedy(MakeError(absl::StatusCode::kInvalidArgument, "MODEL_NAME",
                             absl::StrCat("\"", options.model, "\" is not the name of a model on the hub",
                                          Meant(options.model))),
                   "A name is ORG/NAME or ORG/NAME@REVISION, for example Salesforce/blip2-opt-2.7b."),
        json);
  }
  CatchInterrupts();
  const auto pulled = HubIsOffline() ? FindOffline(*name) : Pull(*name, options.pull);
  if (!pulled.ok()) return ReportError(pulled.status(), json);
  if (json) {
    PrintJson({{"model", name->repository},
               {"revision", name->revision},
               {"commit", pulled->commit},
               {"folder", pulled->folder},
               {"fetched_bytes", pulled->fetched_bytes},
               {"seconds", absl::ToDoubleSeconds(pulled->time)}});
    return kFine;
  }
  SayPull(PulledText(*pulled));
  std::printf("%s\n", pulled->folder.c_str());
  return kFine;
}

}  // namespace

void AddPull(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("pull", "Fetch a model from Hugging Face's hub into its cache");
  const auto options = std::make_shared<PullCommand>();
  command.add_option("MODEL", options->model, "ORG/NAME or ORG/NAME@REVISION")->required();
  command.add_option("--connections", options->pull.connections, "Files and ranges that are fetched at a time")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  AddOutputOptions(command, options->pull.json);
  command.footer(
      "MODEL is ORG/NAME or ORG/NAME@REVISION: a branch, a tag or a commit. Fetches configuration, tokenizer and "
      "safetensors, checks each file and prints the folder. HF_HUB_CACHE, HF_HOME, HF_TOKEN, HF_ENDPOINT, "
      "HF_HUB_OFFLINE "
      "and proxies (https_proxy, no_proxy) count as with Hugging Face's own tools.");
  command.callback([options, &run] {
    if (!options->pull.json) options->pull.say = SayPull;
    options->pull.stopped = Interrupted;
    run = [options] { return RunPull(*options); };
  });
}

}  // namespace diptych::cli
