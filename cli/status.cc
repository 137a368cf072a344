// diptych status: how it stands with the gateway and both tiers.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/errors.h"
#include "cli/json.h"
#include "cli/text.h"

namespace diptych::cli {
namespace {

struct Line {
  std::string part;
  bool serving = false;
  std::string detail;
};

// The gateway, then the tiers as far as the gateway could ask them.
std::vector<Line> Inspect(Client& client, const absl::Status& health) {
  std::vector<Line> lines{{"gateway", health.ok(), health.ok() ? "ready" : std::string(health.message())}};
  const auto response = client.GetModel();
  if (!response.ok()) {
    lines.push_back({"language", false, std::string(response.status().message())});
    return lines;
  }
  for (const v1::TierStatus& tier : response->tiers()) {
    const v1::ModelDescription& model = tier.model();
    lines.push_back({tier.name(), tier.serving(),
                     tier.serving() ? model.name() + ", " + model.dtype() + " on " + model.device() : tier.error()});
  }
  return lines;
}

int Status(const CommonOptions& options) {
  auto client = Client::Open(options);
  if (!client.ok()) return ReportError(client.status(), options.json);
  const absl::Status health = client->CheckHealth("readiness");
  if (IsUnreachable(health)) return ReportError(health, options.json);
  bool all_serving = true;
  std::vector<std::vector<std::string>> rows;
  for (const Line& line : Inspect(*client, health)) {
    all_serving &= line.serving;
    rows.push_back({line.part,
                    line.serving             ? "serving"
                    : line.part == "gateway" ? "not ready"
                                             : "DOWN",
                    Printable(line.detail)});
    if (options.json) PrintJson({{"part", line.part}, {"serving", line.serving}, {"detail", line.detail}});
  }
  if (!options.json) std::printf("%s", FormatTable({"part", "state", "detail"}, rows).c_str());
  return all_serving ? kFine : kFailed;
}

}  // namespace

void AddStatus(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("status", "Show the state of the gateway and both tiers");
  const auto options = std::make_shared<CommonOptions>();
  options->AddTo(command);
  command.callback([options, &run] { run = [options] { return Status(*options); }; });
}

}  // namespace diptych::cli
