// diptych bench load: many questions at once against the server that runs.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "cli/charts/gnuplot.h"
#include "cli/charts/terminal_chart.h"
#include "cli/commands/bench.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/images/image.h"
#include "cli/images/image_source.h"
#include "cli/measurements/fresh.h"
#include "cli/measurements/in_order.h"
#include "cli/measurements/load_tally.h"
#include "cli/questions/json.h"
#include "cli/questions/question_options.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/progress.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

struct LoadOptions {
  CommonOptions common;
  QuestionOptions question;
  PlotOption plot;
  int concurrency = 8, requests = 64;
  std::vector<std::string> images;
  std::string text = "What color is the circle?";
  bool text_alone = false;
};

// The questions differ in their images only: the given files in turn, or one drawn for each.
absl::StatusOr<std::vector<v1::Question>> LoadQuestions(const LoadOptions& options, int side) {
  v1::Question common;
  options.question.Apply(common);
  v1::Turn* turn = common.add_turns();
  turn->set_role(v1::ROLE_USER);
  turn->set_text(options.text);
  std::vector<std::string> files;
  for (const std::string& image : options.images) {
    DIPTYCH_ASSIGN_OR_RETURN(files.emplace_back(), ReadImage(image));
  }
  std::vector<v1::Question> questions(options.requests, common);
  Progress progress("prepared", questions.size(), options.common.json);
  for (size_t i = 0; i < questions.size() && !options.text_alone; ++i, progress.Step()) {
    DIPTYCH_RETURN_IF_ERROR(CheckInterrupt());
    std::string& data = *questions[i].add_images()->mutable_data();
    if (files.empty()) {
      DIPTYCH_ASSIGN_OR_RETURN(data, WritePng(DrawnImage(FreshNumber(), side)));
    } else {
      data = files[i % files.size()];
    }
  }
  return questions;
}

LoadResult AskTimed(Client& client, const v1::Question& question) {
  const absl::Time begin = absl::Now();
  LoadResult result;
  const auto on_delta = [&](const std::string& text) {
    if (!text.empty() && result.first_token_seconds == 0) {
      result.first_token_seconds = absl::ToDoubleSeconds(absl::Now() - begin);
    }
  };
  const auto answer = client.AskStreamImpatiently(question, on_delta);
  result.seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  result.status = answer.status();
  if (result.first_token_seconds == 0) result.first_token_seconds = result.seconds;  // an empty answer
  if (answer.ok()) result.tokens = answer->token_ids_size();
  return result;
}

LoadReport RunLoad(Client& client, const LoadOptions& options, const std::vector<v1::Question>& questions) {
  std::vector<LoadResult> results;
  Progress progress("ended", questions.size(), options.common.json);
  const absl::Time begin = absl::Now();
  const auto ask = [&](size_t i) {
    LoadResult result = AskTimed(client, questions[i]);
    if (!Interrupted()) progress.Step();
    return result;
  };
  ForEachInOrder<LoadResult>(questions.size(), options.concurrency, ask, [&](size_t, LoadResult result) {
    const bool was_cancelled = Interrupted() && !result.status.ok();
    if (!was_cancelled) results.push_back(std::move(result));
  });
  if (Interrupted()) {
    ReportInterrupt(options.common.json, progress.Text());
  }
  return Tally(results, absl::ToDoubleSeconds(absl::Now() - begin));
}

int BenchLoad(const LoadOptions& options) {
  const auto failed = [&](const absl::Status& status) { return ReportError(status, options.common.json); };
  if (const absl::Status status = options.plot.Check(); !status.ok()) return failed(status);
  auto client = Client::Open(options.common);
  if (!client.ok()) return failed(client.status());
  const auto served = client->GetModel();
  if (!served.ok()) return failed(served.status());
  const auto questions = LoadQuestions(options, std::max(served->model().image_size(), 1));
  if (!questions.ok()) return failed(questions.status());
  const LoadReport report = RunLoad(*client, options, *questions);
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
  return report.answered > 0 && report.errors.empty() ? kFine : kFailed;
}

}  // namespace

void AddBenchLoad(CLI::App& bench, Run& run) {
  CLI::App& command =
      *bench.add_subcommand("load", "Ask many questions at once; show throughput, latencies and refusals");
  const auto options = std::make_shared<LoadOptions>();
  command.add_option("--concurrency", options->concurrency, "Questions in flight")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command.add_option("--requests", options->requests, "Questions in all")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  AddImages(command, options->images, "Images, in turn [each question has a drawn one of its own]");
  command.add_flag("--text_alone", options->text_alone, "No images");
  command.add_option("-q,--question", options->text, "What is asked")->capture_default_str();
  options->plot.AddTo(command);
  options->question.AddTo(command);
  options->common.AddTo(command);
  command.footer(
      "A question that the server refuses because it is full is counted and not asked again. The exit code is 1 if a\n"
      "question ended with any other error, or none was answered.");
  command.callback([options, &run] { run = [options] { return BenchLoad(*options); }; });
}

}  // namespace diptych::cli
