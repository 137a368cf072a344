// diptych status: the state of the gateway and both tiers. The load is that of the replica that answered; sums
// over replicas are in the metrics.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/connection/readiness.h"
#include "cli/questions/json.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

const std::vector<std::string> kPartColumns = {"part",  "state", "running",    "waiting",
                                               "batch", "kv",    "cache hits", "detail"};
const std::vector<size_t> kNumberColumns = {2, 3, 4, 5};

struct Line {
  std::string part;
  bool serving = false;
  std::string detail;
  std::optional<v1::TierLoad> load = std::nullopt;  // of one replica of a tier that serves
};

std::string Percent(double share) {
  return absl::StrFormat("%.0f %%", 100 * share);
}

// "vision_tokens 50 %": the hit ratio of each cache that was asked.
std::string CacheCell(const v1::TierLoad& load) {
  std::vector<std::string> ratios;
  for (const v1::CacheLoad& cache : load.caches()) {
    const double ratio = static_cast<double>(cache.hits()) / static_cast<double>(cache.queries());
    ratios.push_back(absl::StrCat(cache.name(), " ", cache.queries() > 0 ? Percent(ratio) : "-"));
  }
  return Printable(absl::StrJoin(ratios, ", "));
}

// running, waiting, batch, kv, cache hits
std::vector<std::string> LoadCells(const Line& line) {
  if (!line.load) return {"", "", "", "", ""};
  const v1::TierLoad& load = *line.load;
  const std::string running = absl::StrCat(load.running()), waiting = absl::StrCat(load.waiting());
  if (load.caches().empty()) return {running, waiting, "", "", ""};  // where callers have keys, no more is told
  return {running, waiting, absl::StrFormat("%.1f", load.mean_batch_size()),
          line.part == "language" ? Percent(load.kv_cache_usage()) : "", CacheCell(load)};
}

std::string StateOf(const Line& line) {
  if (line.serving) return "serving";
  return line.part == "gateway" ? "not ready" : "DOWN";
}

nlohmann::ordered_json LineJson(const Line& line) {
  nlohmann::ordered_json object{{"part", line.part}, {"serving", line.serving}, {"detail", line.detail}};
  object["load"] = line.load ? ToJson(*line.load) : nlohmann::ordered_json();
  return object;
}

// A key that is refused, for example, says nothing about the tiers.
bool IsAboutTheTiers(const absl::Status& status) {
  if (IsUnreachable(status)) return false;
  return status.ok() || absl::IsUnavailable(status) || absl::IsFailedPrecondition(status);
}

// The gateway, then the tiers as far as the gateway could ask them.
std::vector<Line> Inspect(const absl::Status& health, const absl::StatusOr<v1::GetModelResponse>& response) {
  std::vector<Line> lines{{"gateway", health.ok(), health.ok() ? "ready" : std::string(health.message())}};
  if (!response.ok()) {
    lines.push_back({"language", false, std::string(response.status().message())});
    return lines;
  }
  for (const v1::TierStatus& tier : response->tiers()) {
    const v1::ModelDescription& model = tier.model();
    lines.push_back({tier.name(), tier.serving(),
                     tier.serving() ? model.name() + ", " + model.dtype() + " on " + model.device() : tier.error()});
    if (tier.serving()) lines.back().load = tier.load();
  }
  return lines;
}

int Status(const CommonOptions& options) {
  auto client = Client::Open(options);
  if (!client.ok()) return ReportError(client.status(), options.json);
  const absl::Status health = client->CheckHealth("readiness");
  if (IsUnreachable(health)) return ReportError(health, options.json);
  const auto model = client->GetModel();
  if (!IsAboutTheTiers(model.status())) return ReportError(model.status(), options.json);
  bool all_serving = true;
  std::vector<std::vector<std::string>> rows;
  for (const Line& line : Inspect(WhyNotReady(health, model), model)) {
    all_serving &= line.serving;
    rows.push_back({line.part, StateOf(line)});
    for (std::string& cell : LoadCells(line)) rows.back().push_back(std::move(cell));
    rows.back().push_back(Printable(line.detail));
    if (options.json) PrintJson(LineJson(line));
  }
  if (!options.json) std::printf("%s", FormatTable(kPartColumns, rows, kNumberColumns).c_str());
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
