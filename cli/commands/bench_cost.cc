// diptych bench cost: the notebook's cost charts, measured on the server that runs.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/charts/gnuplot.h"
#include "cli/charts/terminal_chart.h"
#include "cli/commands/bench.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/images/image.h"
#include "cli/images/image_source.h"
#include "cli/measurements/cost_chart.h"
#include "cli/measurements/fresh.h"
#include "cli/measurements/sweep_chart.h"
#include "cli/questions/json.h"
#include "cli/questions/question_options.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/progress.h"
#include "common/requests/question_limits.h"
#include "common/stage_clock.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

struct CostOptions {
  CommonOptions common;
  PlotOption plot;
  int repeat = 7, new_tokens = 16, images = 4;
  int large = 0;  // pixels; 0: twice the model's size
  std::string image, description, question = "Describe the image.";
};

// Most images, up to `wanted`, whose query tokens fit with a short text and the answer.
int ImagesThatFit(const v1::GetModelResponse& served, int wanted, int new_tokens) {
  constexpr int kTextTokens = 40;
  const int room = served.model().window_tokens() - kTextTokens - new_tokens;
  return std::clamp(room / std::max(served.model().query_tokens(), 1), 1,
                    std::min(wanted, served.limits().max_images()));
}

std::vector<MeasuredCost> Configurations(const v1::GetModelResponse& served, const CostOptions& options) {
  const int own = std::max(served.model().image_size(), 1);
  const int large =
      AllowedSizes({options.large > 0 ? options.large : 2 * own}, served.model().patch_size()).front().image_size;
  const int images = ImagesThatFit(served, options.images, options.new_tokens);
  return {{.name = "text alone"},
          {.name = absl::StrCat("1 × ", own, " px"), .images = 1, .image_size = own},
          {.name = absl::StrCat("1 × ", large, " px"), .images = 1, .image_size = large},
          {.name = absl::StrCat(images, " × ", own, " px"), .images = images, .image_size = own}};
}

absl::StatusOr<v1::Answer> AskFresh(Client& client, const MeasuredCost& kind, int new_tokens) {
  DIPTYCH_ASSIGN_OR_RETURN(v1::Question question, FreshQuestion(kind.images, kind.image_size, new_tokens));
  if (kind.images > 0) question.mutable_image_options()->set_image_size(kind.image_size);
  return client.Ask(question);
}

// The kinds take turns; the first turn warms up and does not count.
absl::Status MeasureCosts(Client& client, const CostOptions& options, std::vector<MeasuredCost>& kinds) {
  Progress progress("measured", (options.repeat + 1) * kinds.size(), options.common.json);
  for (int i = -1; i < options.repeat; ++i) {
    for (MeasuredCost& kind : kinds) {
      absl::StatusOr<v1::Answer> answer = AskFresh(client, kind, options.new_tokens);
      if (Interrupted()) ReportInterrupt(options.common.json, progress.Text());
      DIPTYCH_RETURN_IF_ERROR(answer.status());
      if (i >= 0) kind.answers.push_back(*std::move(answer));
      progress.Step();
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Answer> AskTurn(Client& client, const std::string& text, const std::string& encoded) {
  v1::Question question;
  if (!text.empty()) {
    v1::Turn* turn = question.add_turns();
    turn->set_role(v1::ROLE_USER);
    turn->set_text(text);
  }
  if (!encoded.empty()) {
    question.add_images()->set_data(encoded);
    KeepFromCaches(*question.mutable_image_options());
  }
  return client.Ask(question);
}

// The exercise "token efficiency": the same scene described from the image, and from a text about it.
absl::StatusOr<std::vector<Described>> MeasureDescriptions(Client& client, const CostOptions& options) {
  std::string encoded;
  if (options.image.empty()) {
    constexpr int kSide = 224;
    DIPTYCH_ASSIGN_OR_RETURN(encoded, WritePng(DrawnImage(FreshNumber(), kSide)));
  } else {
    DIPTYCH_ASSIGN_OR_RETURN(encoded, ReadImage(options.image));
  }
  std::string description = options.description;
  if (description.empty()) {
    DIPTYCH_ASSIGN_OR_RETURN(const v1::Answer caption, AskTurn(client, "", encoded));
    description = caption.text();
  }
  std::vector<Described> sources{{.source = "image"}, {.source = "its description"}};
  Progress progress("described", options.repeat, options.common.json);
  for (int i = 0; i < options.repeat; ++i, progress.Step()) {
    DIPTYCH_ASSIGN_OR_RETURN(sources[0].answers.emplace_back(), AskTurn(client, options.question, encoded));
    DIPTYCH_ASSIGN_OR_RETURN(sources[1].answers.emplace_back(),
                             AskTurn(client, absl::StrCat(description, ". ", options.question), ""));
  }
  return sources;
}

void ShowCosts(const CostOptions& options, const std::vector<MeasuredCost>& kinds,
               const std::vector<Described>& sources) {
  if (options.common.json) {
    const double baseline = StagesOf(kinds.front().Typical()).total;
    for (const MeasuredCost& kind : kinds) PrintJson(CostJson(kind, baseline));
    for (const Described& source : sources) PrintJson(DescribedJson(source));
    return;
  }
  std::printf("%s\n%s\n%s", CostTable(kinds).c_str(), DescribedTable(sources).c_str(),
              TerminalChart(CostChart(kinds, sources)).c_str());
}

// After Ctrl-C: what there is.
int ShowPart(const CostOptions& options, std::vector<MeasuredCost> kinds) {
  std::erase_if(kinds, [](const MeasuredCost& kind) { return kind.answers.empty(); });
  if (!kinds.empty() && options.common.json) {
    const double baseline = StagesOf(kinds.front().Typical()).total;
    for (const MeasuredCost& kind : kinds) PrintJson(CostJson(kind, baseline));
  } else if (!kinds.empty()) {
    std::printf("%s", CostTable(kinds).c_str());
  }
  return ReportInterrupt(options.common.json);
}

int BenchCost(const CostOptions& options) {
  const auto failed = [&](const absl::Status& status) { return ReportError(status, options.common.json); };
  if (const absl::Status status = options.plot.Check(); !status.ok()) return failed(status);
  if (!options.image.empty()) {
    if (const absl::Status status = CheckImageSource(options.image); !status.ok()) {
      return ReportUsage(status, options.common.json);
    }
  }
  auto client = Client::Open(options.common);
  if (!client.ok()) return failed(client.status());
  const auto served = client->GetModel();
  if (!served.ok()) return failed(served.status());
  std::vector<MeasuredCost> kinds = Configurations(*served, options);
  const absl::Status measured = MeasureCosts(*client, options, kinds);
  if (Interrupted()) return ShowPart(options, kinds);
  if (!measured.ok()) return failed(measured);
  const auto sources = MeasureDescriptions(*client, options);
  if (Interrupted()) return ShowPart(options, kinds);
  if (!sources.ok()) return failed(sources.status());
  ShowCosts(options, kinds, *sources);
  const absl::Status written = options.plot.Write(CostChart(kinds, *sources));
  return written.ok() ? kFine : ReportError(written, options.common.json, "--plot");
}

}  // namespace

void AddBenchCost(CLI::App& bench, Run& run) {
  CLI::App& command = *bench.add_subcommand("cost", "Measure what text, one image, a large one and several cost");
  const auto options = std::make_shared<CostOptions>();
  command.add_option("--repeat", options->repeat, "Times that each is measured; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_option("--new_tokens", options->new_tokens, "Tokens that each answer has")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.add_option("--images", options->images, "Images of the question about several, as far as the window allows")
      ->check(CLI::Range(2, 64))
      ->capture_default_str();
  command.add_option("--large", options->large, "Side of the large image in pixels [twice the model's]")
      ->check(CLI::Range(1, kMaxImageSize));
  constexpr char kExercise[] = "Image or description";
  AddImage(command, options->image, "Image to describe [a drawn one]")->group(kExercise);
  command.add_option("--description", options->description, "Text about it [the model's own caption]")
      ->group(kExercise);
  command.add_option("-q,--question", options->question, "What is asked about both")
      ->capture_default_str()
      ->group(kExercise);
  options->plot.AddTo(command);
  options->common.AddTo(command);
  command.footer("Every image that is measured is new to the server, so nothing comes from a cache.");
  command.callback([options, &run] { run = [options] { return BenchCost(*options); }; });
}

}  // namespace diptych::cli
