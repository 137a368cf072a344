// diptych sweep: one question about one image at several resolutions.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/charts/gnuplot.h"
#include "cli/charts/terminal_chart.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/images/image.h"
#include "cli/images/image_source.h"
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

struct SweepOptions {
  CommonOptions common;
  QuestionOptions question;
  PlotOption plot;
  std::string image, text;
  std::vector<int> sizes = {128, 224, 336, 448};
  int repeat = 3;
};

absl::StatusOr<v1::Question> SweepQuestion(const SweepOptions& options) {
  v1::Question question;
  options.question.Apply(question);
  DIPTYCH_ASSIGN_OR_RETURN(*question.add_images()->mutable_data(), ReadImage(options.image));
  if (options.text.empty()) return question;
  v1::Turn* turn = question.add_turns();
  turn->set_role(v1::ROLE_USER);
  turn->set_text(options.text);
  return question;
}

absl::Status MeasureSize(Client& client, v1::Question question, SweptSize& swept) {
  question.mutable_image_options()->set_image_size(swept.image_size);
  KeepFromCaches(*question.mutable_image_options());
  DIPTYCH_ASSIGN_OR_RETURN(swept.answer, client.Ask(question));
  swept.seconds.push_back(ToSeconds(FromProtoDuration(swept.answer.timings().total())));
  swept.vit_seconds.push_back(ToSeconds(FromProtoDuration(swept.answer.timings().vit())));
  swept.cache_hits += CacheHitsOf(swept.answer);
  return absl::OkStatus();
}

// After Ctrl-C: what there is.
std::vector<SweptSize> Measured(std::vector<SweptSize> sizes) {
  std::erase_if(sizes, [](const SweptSize& size) { return size.seconds.empty(); });
  return sizes;
}

// The sizes take turns, so that a machine's moods meet all of them.
absl::StatusOr<std::vector<SweptSize>> Measure(Client& client, const SweepOptions& options) {
  DIPTYCH_ASSIGN_OR_RETURN(const v1::GetModelResponse served, client.GetModel());
  DIPTYCH_ASSIGN_OR_RETURN(const v1::Question question, SweepQuestion(options));
  std::vector<SweptSize> sizes = AllowedSizes(options.sizes, served.model().patch_size());
  for (const SweptSize& size : sizes) {
    if (size.image_size == size.requested) continue;
    ReportNote(absl::StrFormat("%d is not a multiple of the patch size %d (at most %d); %d is measured instead",
                               size.requested, served.model().patch_size(), kMaxImageSize, size.image_size),
               options.common.json);
  }
  Progress progress("measured", options.repeat * sizes.size(), options.common.json);
  for (int i = 0; i < options.repeat; ++i) {
    for (SweptSize& size : sizes) {
      const absl::Status status = MeasureSize(client, question, size);
      if (Interrupted()) {
        ReportInterrupt(options.common.json, progress.Text());
        return Measured(std::move(sizes));
      }
      DIPTYCH_RETURN_IF_ERROR(status);
      progress.Step();
    }
  }
  return sizes;
}

int Sweep(const SweepOptions& options) {
  if (const absl::Status status = options.plot.Check(); !status.ok()) return ReportError(status, options.common.json);
  if (const absl::Status status = CheckImageSource(options.image); !status.ok()) {
    return ReportUsage(status, options.common.json);
  }
  auto client = Client::Open(options.common);
  if (!client.ok()) return ReportError(client.status(), options.common.json);
  const auto sizes = Measure(*client, options);
  if (!sizes.ok()) return ReportError(sizes.status(), options.common.json);
  if (sizes->empty()) return ReportInterrupt(options.common.json);
  const Chart chart = SweepChart(*sizes);
  if (options.common.json) {
    for (const SweptSize& size : *sizes) PrintJson(SweptJson(size));
  } else {
    std::printf("%s\n%s", SweepTable(*sizes).c_str(), TerminalChart(chart).c_str());
  }
  const absl::Status written = options.plot.Write(chart);
  if (!written.ok()) return ReportError(written, options.common.json, "--plot");
  return Interrupted() ? kInterrupted : kFine;
}

}  // namespace

void AddSweep(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("sweep", "Ask one question about an image at several resolutions");
  const auto options = std::make_shared<SweepOptions>();
  AddImage(command, options->image, "Image: a file (JPEG, PNG, WebP, GIF), - for standard input, or an https address")
      ->required();
  command.add_option("-q,--question", options->text, "Question; without one the answer is a caption");
  command.add_option("--sizes", options->sizes, "Sides in pixels of what the vision transformer sees")
      ->delimiter(',')
      ->expected(1, 64)
      ->check(CLI::Range(1U, kMaxImageSide))
      ->capture_default_str();
  command.add_option("--repeat", options->repeat, "Times that each size is measured; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  options->plot.AddTo(command);
  options->question.AddTo(command);
  options->common.AddTo(command);
  command.footer(
      "Each size changes what the vision transformer sees (--image_size of `ask`). To shrink the image before it is "
      "prepared for the model's own size, which leaves the number of tokens as it is, use --max_side of `ask`. With "
      "--max_side here, repeats are found in the caches.");
  command.callback([options, &run] { run = [options] { return Sweep(*options); }; });
}

}  // namespace diptych::cli
