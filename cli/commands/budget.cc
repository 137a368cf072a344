// diptych budget: what images cost in tokens and what they leave of the window. Nothing is run.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/charts/budget_chart.h"
#include "cli/charts/gnuplot.h"
#include "cli/charts/terminal_chart.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/images/image.h"
#include "cli/questions/json.h"
#include "cli/terminal/text.h"
#include "common/requests/question_limits.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

struct BudgetOptions {
  CommonOptions common;
  PlotOption plot;
  std::vector<int> image_sizes = {224, 336, 384, 448, 512, 672, 768, 1024};
  std::vector<int> patch_sizes = {14, 16};
  std::vector<int> windows = {2048, 4096, 8192, 16384};
  std::string prompt;
  int max_new_tokens = 0;
};

v1::PlanContextRequest RequestFor(const BudgetOptions& options, int image_size, int patch_size) {
  v1::PlanContextRequest request;
  v1::ImageSize* size = request.add_images();
  size->set_height(image_size);
  size->set_width(image_size);
  request.set_patch_size(patch_size);
  request.set_prompt(options.prompt);
  request.set_max_new_tokens(options.max_new_tokens);
  for (const int window : options.windows) request.add_windows(window);
  return request;
}

absl::StatusOr<BudgetTable> Plan(Client& client, const BudgetOptions& options) {
  BudgetTable table{.image_sizes = options.image_sizes, .patch_sizes = options.patch_sizes, .windows = options.windows};
  for (const int patch_size : options.patch_sizes) {
    for (const int image_size : options.image_sizes) {
      DIPTYCH_ASSIGN_OR_RETURN(v1::PlanContextResponse plan,
                               client.PlanContext(RequestFor(options, image_size, patch_size)));
      if (plan.patch_tokens_size() != 1 || plan.windows_size() != static_cast<int>(options.windows.size())) {
        return absl::InternalError("the gateway's plan does not fit the request");
      }
      table.plans.push_back({.image_size = image_size, .patch_size = patch_size, .plan = std::move(plan)});
    }
  }
  return table;
}

// The line about the model that is served, from a plan of one image in its own window.
absl::StatusOr<std::string> ServedLine(Client& client, const BudgetOptions& options) {
  DIPTYCH_ASSIGN_OR_RETURN(const v1::GetModelResponse served, client.GetModel());
  const v1::ModelDescription& model = served.model();
  v1::PlanContextRequest request = RequestFor(options, std::max(model.image_size(), 1), 0);
  request.clear_windows();
  DIPTYCH_ASSIGN_OR_RETURN(const v1::PlanContextResponse plan, client.PlanContext(request));
  if (plan.patch_tokens_size() != 1 || plan.windows_size() != 1) return absl::InternalError("the plan is not one");
  const v1::WindowPlan& window = plan.windows(0);
  return absl::StrCat(Printable(model.name()), ": an image of ", model.image_size(), " px in patches of ",
                      model.patch_size(), " px is ", plan.patch_tokens(0), " patches and ", plan.query_tokens(),
                      " query tokens; of the window's ", FormatCount(window.budget().window()), " tokens it leaves ",
                      FormatCount(window.budget().remaining()), "; ", window.images_that_fit(), " images fit with ",
                      window.budget().text_tokens(), window.budget().text_tokens() == 1 ? " token" : " tokens",
                      " of text and ", window.budget().reserved_output(), " for the answer, without the Q-Former ",
                      window.images_that_fit_dense());
}

int Budget(const BudgetOptions& options) {
  if (const absl::Status status = options.plot.Check(); !status.ok()) return ReportError(status, options.common.json);
  auto client = Client::Open(options.common);
  if (!client.ok()) return ReportError(client.status(), options.common.json);
  const auto table = Plan(*client, options);
  if (!table.ok()) return ReportError(table.status(), options.common.json);
  if (options.common.json) {
    for (const PlannedSize& planned : table->plans) PrintJson(PlannedJson(planned));
  } else {
    const auto served = ServedLine(*client, options);
    if (!served.ok()) return ReportError(served.status(), false);
    std::printf("%s\n\n%s\n%s", served->c_str(), FitTable(*table).c_str(), TerminalChart(BudgetChart(*table)).c_str());
  }
  const absl::Status written = options.plot.Write(BudgetChart(*table));
  return written.ok() ? kFine : ReportError(written, options.common.json, "--plot");
}

}  // namespace

void AddBudget(CLI::App& app, Run& run) {
  CLI::App& command =
      *app.add_subcommand("budget", "Show what images cost in tokens and what they leave of the window");
  const auto options = std::make_shared<BudgetOptions>();
  command.add_option("--image_size", options->image_sizes, "Sides of square images in pixels")
      ->delimiter(',')
      ->expected(1, 64)
      ->check(CLI::Range(1, kMaxPlannedImageSide))
      ->capture_default_str();
  command.add_option("--patch_size", options->patch_sizes, "Sides of a patch in pixels")
      ->delimiter(',')
      ->expected(1, 8)
      ->check(CLI::Range(1, kMaxPlannedPatchSize))
      ->capture_default_str();
  command.add_option("--window", options->windows, "Context windows in tokens")
      ->delimiter(',')
      ->expected(1, kMaxPlannedWindows)
      ->check(CLI::Range(1, kMaxPlannedWindow))
      ->capture_default_str();
  command.add_option("-p,--prompt", options->prompt,
                     "Text that goes with the image, counted with the served tokenizer");
  command
      .add_option("-n,--max_new_tokens", options->max_new_tokens,
                  "Tokens kept free for the answer [the served default]")
      ->check(CLI::Range(0, kMaxPlannedWindow));
  options->plot.AddTo(command);
  options->common.AddTo(command);
  command.callback([options, &run] { run = [options] { return Budget(*options); }; });
}

}  // namespace diptych::cli
