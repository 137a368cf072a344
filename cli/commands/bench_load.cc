// diptych bench load: many questions against the server that runs, so many at a time or so many a second.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
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
#include "cli/measurements/arrivals.h"
#include "cli/measurements/fresh.h"
#include "cli/measurements/in_order.h"
#include "cli/measurements/load_tally.h"
#include "cli/questions/json.h"
#include "cli/questions/question_options.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/progress.h"
#include "common/status.h"
#include "common/steady_clock.h"

namespace diptych::cli {
namespace {

struct LoadOptions {
  CommonOptions common;
  QuestionOptions question;
  PlotOption plot;
  int concurrency = 8, requests = 64;
  double rate = 0;  // questions a second; 0: `concurrency` at a time
  uint64_t arrival_seed = 1;
  double text_share = 0;
  absl::Duration slo_first_token = absl::InfiniteDuration(), slo_total = absl::InfiniteDuration();
  std::vector<std::string> images;
  std::string text = "What color is the circle?";
  bool text_alone = false;
};

// In flight at most at a rate: a thread waits for each. What the server has not refused by then is asked late.
constexpr int kMostInFlight = 1024;

// When each question is asked, and whether it has an image; all at the start without a rate.
std::vector<Arrival> Arrivals(const LoadOptions& options) {
  const double text_share = options.text_alone ? 1 : options.text_share;
  std::vector<Arrival> arrivals =
      PoissonArrivals(options.requests, options.rate > 0 ? options.rate : 1, text_share, options.arrival_seed);
  for (Arrival& arrival : arrivals) arrival.seconds = options.rate > 0 ? arrival.seconds : 0;
  return arrivals;
}

// The questions differ in their images only. Each is put together when it is asked: a photograph of megabytes lies in
// memory once, not once for each question.
struct LoadQuestions {
  v1::Question common;
  std::vector<std::string> images;  // taken in turn

  v1::Question At(size_t i, const Arrival& arrival) const {
    v1::Question question = common;
    if (!arrival.text_only) *question.add_images()->mutable_data() = images[i % images.size()];
    return question;
  }
};

v1::Question QuestionWithoutImage(const LoadOptions& options) {
  v1::Question question;
  options.question.Apply(question);
  v1::Turn* turn = question.add_turns();
  turn->set_role(v1::ROLE_USER);
  turn->set_text(options.text);
  return question;
}

absl::StatusOr<std::vector<std::string>> ReadImages(const std::vector<std::string>& sources) {
  std::vector<std::string> images;
  for (const std::string& source : sources) {
    DIPTYCH_ASSIGN_OR_RETURN(images.emplace_back(), ReadImage(source));
  }
  return images;
}

// One for each question that has any.
absl::StatusOr<std::vector<std::string>> DrawImages(const std::vector<Arrival>& arrivals, int side, bool json) {
  std::vector<std::string> images(arrivals.size());
  Progress progress("images drawn", images.size(), json);
  for (size_t i = 0; i < images.size(); ++i, progress.Step()) {
    if (Interrupted()) ReportInterrupt(json, progress.Text());
    DIPTYCH_RETURN_IF_ERROR(CheckInterrupt());
    if (arrivals[i].text_only) continue;
    DIPTYCH_ASSIGN_OR_RETURN(images[i], WritePng(DrawnImage(FreshNumber(), side)));
  }
  return images;
}

absl::StatusOr<LoadQuestions> Questions(const LoadOptions& options, const std::vector<Arrival>& arrivals, int side) {
  LoadQuestions questions{.common = QuestionWithoutImage(options), .images = {}};
  if (options.text_alone) return questions;
  DIPTYCH_ASSIGN_OR_RETURN(questions.images, options.images.empty() ? DrawImages(arrivals, side, options.common.json)
                                                                    : ReadImages(options.images));
  return questions;
}

// Times count from `due`.
LoadResult AskTimed(Client& client, const v1::Question& question, SteadyTime due) {
  const auto since_due = [due] { return absl::ToDoubleSeconds(TimeSince(due)); };
  LoadResult result{.late_seconds = since_due()};
  double last = 0;
  const auto on_delta = [&](const std::string& text) {
    if (text.empty()) return;
    const double now = since_due();
    if (last > 0) result.between_tokens.push_back(now - last);
    if (last == 0) result.first_token_seconds = now;
    last = now;
  };
  const auto answer = client.AskStreamImpatiently(question, on_delta);
  result.seconds = since_due();
  result.status = answer.status();
  if (result.first_token_seconds == 0) result.first_token_seconds = result.seconds;  // an empty answer
  if (answer.ok()) result.tokens = answer->token_ids_size();
  return result;
}

LoadPlan PlanOf(const LoadOptions& options) {
  return {.rate = options.rate > 0 ? std::optional(options.rate) : std::nullopt,
          .slo = {.first_token_seconds = absl::ToDoubleSeconds(options.slo_first_token),
                  .total_seconds = absl::ToDoubleSeconds(options.slo_total)}};
}

LoadReport RunLoad(Client& client, const LoadOptions& options, const std::vector<Arrival>& arrivals,
                   const LoadQuestions& questions) {
  std::vector<LoadResult> results;
  Progress progress("ended", arrivals.size(), options.common.json);
  const SteadyTime begin = SteadyClock::now();
  const auto due = [&](size_t i) { return Later(begin, absl::Seconds(arrivals[i].seconds)); };
  const auto await = [&](size_t i) { SleepUnlessInterrupted(TimeUntil(due(i))); };
  const auto ask = [&](size_t i) {
    const v1::Question question = questions.At(i, arrivals[i]);
    LoadResult result = AskTimed(client, question, options.rate > 0 ? due(i) : SteadyClock::now());
    result.text_only = arrivals[i].text_only;
    if (!Interrupted()) progress.Step();
    return result;
  };
  const int workers = options.rate > 0 ? kMostInFlight : options.concurrency;
  ForEachInOrder<LoadResult>(arrivals.size(), workers, await, ask, [&](size_t, LoadResult result) {
    const bool was_cancelled = Interrupted() && !result.status.ok();
    if (!was_cancelled) results.push_back(std::move(result));
  });
  if (Interrupted()) {
    ReportInterrupt(options.common.json, progress.Text());
  }
  return Tally(results, absl::ToDoubleSeconds(TimeSince(begin)), PlanOf(options));
}

int BenchLoad(const LoadOptions& options) {
  const auto failed = [&](const absl::Status& status) { return ReportError(status, options.common.json); };
  if (const absl::Status status = options.plot.Check(); !status.ok()) return failed(status);
  for (const std::string& image : options.images) {
    if (const absl::Status status = CheckImageSource(image); !status.ok())
      return ReportUsage(status, options.common.json);
  }
  auto client = Client::Open(options.common);
  if (!client.ok()) return failed(client.status());
  const auto served = client->GetModel();
  if (!served.ok()) return failed(served.status());
  const std::vector<Arrival> arrivals = Arrivals(options);
  const auto questions = Questions(options, arrivals, std::max(served->model().image_size(), 1));
  if (!questions.ok()) return failed(questions.status());
  const LoadReport report = RunLoad(*client, options, arrivals, *questions);
  if (options.common.json) {
    PrintJson(LoadJson(report));
  } else {
    std::printf("%s", LoadText(report).c_str());
    if (report.answered > 0) std::printf("\n%s", TerminalChart(LoadChart(report)).c_str());
  }
  if (report.answered > 0) {
    if (const absl::Status written = options.plot.Write(LoadChart(report)); !written.ok()) return failed(written);
  }
  if (Interrupted()) return kInterrupted;
  return report.failed() ? kFailed : kFine;
}

}  // namespace

void AddBenchLoad(CLI::App& bench, Run& run) {
  CLI::App& command =
      *bench.add_subcommand("load", "Ask many questions at once; show throughput, latencies and refusals");
  const auto options = std::make_shared<LoadOptions>();
  CLI::Option* concurrency = command.add_option("--concurrency", options->concurrency, "Questions in flight")
                                 ->check(CLI::Range(1, 1024))
                                 ->capture_default_str();
  command
      .add_option("--rate", options->rate,
                  "Questions a second at random times (Poisson), however many are still in flight, in place of "
                  "--concurrency")
      ->check(NumberFrom(0.001, 10000))
      ->excludes(concurrency);
  command.add_option("--arrival_seed", options->arrival_seed, "Of the times of --rate and the choice of --text_share")
      ->capture_default_str();
  command.add_option("--requests", options->requests, "Questions in all")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  AddImages(command, options->images, "Images, in turn [a newly drawn one for each question]");
  command.add_flag("--text_alone", options->text_alone, "No images");
  command.add_option("--text_share", options->text_share, "Share of the questions without an image, 0 to 1")
      ->check(NumberFrom(0, 1))
      ->capture_default_str();
  AddTime(command, "--slo_first_token", options->slo_first_token, "Time within which a good answer has its first token",
          "none");
  AddTime(command, "--slo_total", options->slo_total, "Time within which a good answer is whole", "none");
  command.add_option("-q,--question", options->text, "What is asked")->capture_default_str();
  options->plot.AddTo(command);
  options->question.AddTo(command);
  options->common.AddTo(command);
  command.footer(
      "A question that the server refuses because it is full is counted and not asked again. With --rate, times count "
      "from when a question was to be asked, and what this program itself was late by is shown. Goodput counts the "
      "answers that kept --slo_first_token and --slo_total. The exit code is 1 if a question passed its deadline, was "
      "lost or ended with any error but a refusal, or none was answered.");
  command.callback([options, &run] { run = [options] { return BenchLoad(*options); }; });
}

}  // namespace diptych::cli
