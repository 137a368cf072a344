// diptych bench optimizations: each against float32 without any, on servers that it starts.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/charts/gnuplot.h"
#include "cli/charts/terminal_chart.h"
#include "cli/command_line/option_table.h"
#include "cli/commands/bench.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/measurements/fresh.h"
#include "cli/measurements/in_order.h"
#include "cli/measurements/optimizations.h"
#include "cli/questions/json.h"
#include "cli/stack/stack.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/text.h"
#include "common/models/model_folder.h"
#include "common/status.h"
#include "common/steady_clock.h"

namespace diptych::cli {
namespace {

struct OptimizationsOptions {
  std::string model, device = "cpu";
  int threads = 0;
  int requests = 24, rounds = 3, at_once = 8, new_tokens = 16;
  double token_merging = 0.1;
  std::vector<std::string> techniques;  // empty: all
  absl::Duration deadline = absl::Minutes(10);
  bool json = false;
  PlotOption plot;
};

// Asks `count` questions, `technique.at_once` in flight. All are made beforehand: drawing images is not measured.
absl::Status AskMany(Client& client, const Technique& technique, const std::vector<v1::Question>& questions) {
  absl::Status first_error;
  ForEachInOrder<absl::Status>(
      questions.size(), technique.at_once, [&](size_t i) { return client.Ask(questions[i]).status(); },
      [&](size_t, const absl::Status& status) { first_error.Update(status); });
  return first_error;
}

absl::StatusOr<std::vector<v1::Question>> MakeQuestions(const Technique& technique, int count, int side,
                                                        int new_tokens) {
  std::vector<v1::Question> questions;
  for (int i = 0; i < count; ++i) {
    DIPTYCH_ASSIGN_OR_RETURN(v1::Question question, FreshQuestion(1, side, new_tokens));
    if (technique.one_image && i > 0) *question.mutable_images() = questions.front().images();
    if (technique.token_merging > 0) question.mutable_image_options()->set_token_merging(technique.token_merging);
    questions.push_back(std::move(question));
  }
  return questions;
}

StackOptions StackFor(const OptimizationsOptions& options, const Technique& technique) {
  StackOptions stack{.model = options.model,
                     .device = options.device,
                     .dtype = technique.dtype,
                     .any_ports = true,
                     .inherit_flags = false,
                     .log_folder = ""};
  for (auto* flags : {&stack.vision_flags, &stack.language_flags}) {
    *flags = {absl::StrCat("--threads=", options.threads), "--log_level=error"};
  }
  stack.gateway_flags = {"--log_level=error"};
  if (technique.one_image) return stack;
  stack.vision_flags.push_back("--cache_bytes=0");
  stack.language_flags.push_back("--cache_bytes=0");
  return stack;
}

// One round: servers of their own, a warm-up, then the questions. Adds the seconds for one answer.
absl::Status MeasureRound(const OptimizationsOptions& options, Technique& technique) {
  Stack stack(
      StackFor(options, technique), [](const std::string&) {}, [] { return !CheckInterrupt().ok(); });
  DIPTYCH_RETURN_IF_ERROR(stack.Start());
  CommonOptions common;
  common.server = stack.grpc_address();
  common.deadline = options.deadline;
  DIPTYCH_ASSIGN_OR_RETURN(Client client, Client::Open(common));
  DIPTYCH_ASSIGN_OR_RETURN(const v1::GetModelResponse served, client.GetModel());
  const int side = std::max(served.model().image_size(), 1);
  DIPTYCH_ASSIGN_OR_RETURN(const auto warm_up, MakeQuestions(technique, technique.at_once, side, options.new_tokens));
  DIPTYCH_RETURN_IF_ERROR(AskMany(client, technique, warm_up));
  DIPTYCH_ASSIGN_OR_RETURN(const auto questions, MakeQuestions(technique, options.requests, side, options.new_tokens));
  const double processor_before = stack.ProcessorSeconds();
  const SteadyTime begin = SteadyClock::now();
  DIPTYCH_RETURN_IF_ERROR(AskMany(client, technique, questions));
  technique.seconds_per_answer.push_back(absl::ToDoubleSeconds(TimeSince(begin)) / options.requests);
  technique.processor_per_answer.push_back((stack.ProcessorSeconds() - processor_before) / options.requests);
  return absl::OkStatus();
}

absl::Status MeasureAndTell(const OptimizationsOptions& options, int round, Technique& technique) {
  const absl::Status status = MeasureRound(options, technique);
  if (!status.ok()) return Annotate(status, technique.name);
  ReportNote(absl::StrFormat("round %d of %d  %-9s  %s an answer", round, options.rounds, technique.name,
                             FormatSeconds(technique.seconds_per_answer.back())),
             options.json);
  return absl::OkStatus();
}

bool Wanted(const OptimizationsOptions& options, const std::string& name) {
  const auto& names = options.techniques;
  return names.empty() || name == "baseline" || std::find(names.begin(), names.end(), name) != names.end();
}

// The techniques take turns, so that a machine's moods meet all of them. After Ctrl-C those that were measured.
absl::StatusOr<std::vector<Technique>> MeasureTechniques(const OptimizationsOptions& options) {
  std::vector<Technique> techniques = Techniques(options.token_merging, options.at_once);
  std::erase_if(techniques, [&](const Technique& technique) { return !Wanted(options, technique.name); });
  const auto part = [&techniques] {
    std::erase_if(techniques, [](const Technique& technique) { return technique.seconds_per_answer.empty(); });
    return techniques;
  };
  for (int round = 1; round <= options.rounds; ++round) {
    for (Technique& technique : techniques) {
      const absl::Status status = MeasureAndTell(options, round, technique);
      if (Interrupted()) return part();
      DIPTYCH_RETURN_IF_ERROR(status);
    }
    if (round == 1 && Wanted(options, "combined")) {
      techniques.push_back(Combined(techniques));
      const absl::Status status = MeasureAndTell(options, round, techniques.back());
      if (Interrupted()) return part();
      DIPTYCH_RETURN_IF_ERROR(status);
    }
  }
  return techniques;
}

int BenchOptimizations(OptimizationsOptions options) {
  if (const absl::Status status = options.plot.Check(); !status.ok()) return ReportError(status, options.json);
  const auto folder = FindModelFolder(options.model);
  if (!folder.ok()) return ReportError(folder.status(), options.json);
  options.model = *folder;
  CatchInterrupts();
  const auto techniques = MeasureTechniques(options);
  if (!techniques.ok()) return ReportError(techniques.status(), options.json);
  if (techniques->empty()) return ReportInterrupt(options.json);
  const Chart chart = TechniqueChart(*techniques);
  if (options.json) {
    for (const Technique& technique : *techniques) PrintJson(TechniqueJson(technique, techniques->front()));
  } else {
    std::printf("%s\n%s", TechniqueTable(*techniques).c_str(), TerminalChart(chart).c_str());
  }
  const absl::Status written = options.plot.Write(chart);
  if (Interrupted()) return ReportInterrupt(options.json);
  return written.ok() ? kFine : ReportError(written, options.json, "--plot");
}

}  // namespace

void AddBenchOptimizations(CLI::App& bench, Run& run) {
  CLI::App& command = *bench.add_subcommand(
      "optimizations", "Measure dtypes, token merging, batching and caches on servers that it starts");
  const auto options = std::make_shared<OptimizationsOptions>();
  command.add_option("--model", options->model, "Checkpoint folder, or ORG/NAME of one that was pulled")
      ->required()
      ->type_name(kFolderType);
  command.add_option("--device", options->device, "cpu, cuda or cuda:N")->capture_default_str();
  command.add_option("--threads", options->threads, "Threads of one operator; 0: one for each core")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--requests", options->requests, "Questions that each technique answers in a round")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command.add_option("--rounds", options->rounds, "Rounds; the median counts")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command.add_option("--at_once", options->at_once, "Questions in flight of `batching` and `combined`")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command.add_option("--new_tokens", options->new_tokens, "Tokens that each answer has")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.add_option("--token_merging", options->token_merging, "Share of patch tokens merged in each layer")
      ->check(NumberFrom(0, 0.5))
      ->capture_default_str();
  command
      .add_option("--techniques", options->techniques,
                  "Only these, besides the baseline: bfloat16, float16, merging, batching, caches, combined")
      ->delimiter(',')
      ->check(CLI::IsMember({"baseline", "bfloat16", "float16", "merging", "batching", "caches", "combined"}));
  AddDeadline(command, options->deadline, "10m");
  AddOutputOptions(command, options->json);
  options->plot.AddTo(command);
  command.footer(
      "Starts vision_service, language_service and gateway from the folder of this program, on free ports, once for "
      "each technique and round, and stops them. The baseline is the notebook's way: float32, one question at a time, "
      "every image computed. `caches` and `combined` ask all their questions about one image. int8 and int4, which are "
      "for large models, are not among the techniques.");
  command.callback([options, &run] { run = [options] { return BenchOptimizations(*options); }; });
}

}  // namespace diptych::cli
