// diptych plan-capacity: replicas of each tier for a load, by a queueing model. Nothing is asked.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "cli/capacity/plan.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/measurements/capacity_table.h"
#include "cli/questions/json.h"
#include "common/tiers/tier_defaults.h"

namespace diptych::cli {
namespace {

constexpr char kCoreUnit[] = "core", kGpuUnit[] = "GPU", kByImage[] = "image";
constexpr int kVisualTokens = 257;  // of an image, by blip2-opt-2.7b
constexpr int kCoreBatch = tier_defaults::VisionBatch("cpu", kVisualTokens);
constexpr int kGpuBatch = tier_defaults::VisionBatch("cuda", kVisualTokens);

struct CapacityOptions {
  Workload workload;
  absl::Duration first_token_p95, answer_p95;
  double utilization = 0.8;
  // blip2-opt-2.7b in int8 on two cores of Zen 4: docs/benchmarks/2026-11-28.md. A batch of 0: the tier's default.
  Hardware hardware{.vision = {.pass_seconds = 0, .image_seconds = 0.9, .max_batch = 0},
                    .language = {.step_seconds = 0.094, .row_seconds = 0.006, .qformer_seconds = 0.1},
                    .other_seconds = 0.01,
                    .vision_units = 2,
                    .language_units = 2};
  std::string vision_unit = kCoreUnit, language_unit = kCoreUnit;
  double core_price = 0.04, gpu_price = 0;
  Replicas replicas;  // 0: as many as are needed
  bool json = false;
};

absl::Status SetPrices(CapacityOptions& options) {
  if (options.gpu_price <= 0 && (options.vision_unit == kGpuUnit || options.language_unit == kGpuUnit)) {
    return absl::InvalidArgumentError("a tier runs on GPUs; --gpu_price tells what an hour of one costs");
  }
  const auto price = [&](const std::string& unit) { return unit == kGpuUnit ? options.gpu_price : options.core_price; };
  options.hardware.vision_unit_price = price(options.vision_unit);
  options.hardware.language_unit_price = price(options.language_unit);
  return absl::OkStatus();
}

absl::StatusOr<CapacityPlan> CapacityPlanOf(const CapacityOptions& options) {
  if (options.replicas.vision > 0) return Judge(options.workload, options.hardware, options.replicas);
  return PlanFor(options.workload, options.hardware,
                 {.first_token_p95 = absl::ToDoubleSeconds(options.first_token_p95),
                  .answer_p95 = absl::ToDoubleSeconds(options.answer_p95),
                  .utilization = options.utilization});
}

int PlanCapacity(CapacityOptions options) {
  if (const absl::Status status = SetPrices(options); !status.ok()) return ReportUsage(status, options.json);
  if ((options.replicas.vision > 0) != (options.replicas.language > 0)) {
    return ReportUsage(absl::InvalidArgumentError("--vision_replicas and --language_replicas go together"),
                       options.json);
  }
  if (int& batch = options.hardware.vision.max_batch; batch == 0) {
    batch = options.vision_unit == kGpuUnit ? kGpuBatch : kCoreBatch;
  }
  const auto plan = CapacityPlanOf(options);
  if (!plan.ok()) return ReportError(plan.status(), options.json);
  if (options.json) {
    PrintJson(CapacityJson(*plan, options.hardware));
  } else {
    std::printf("%s", CapacityText(*plan, options.hardware, options.vision_unit, options.language_unit).c_str());
  }
  return kFine;
}

CLI::Option* AddNumber(CLI::App& command, const std::string& name, double& value, double least, double most,
                       const std::string& description) {
  return command.add_option(name, value, description)->check(NumberFrom(least, most))->capture_default_str();
}

void AddLoad(CLI::App& command, Workload& workload) {
  constexpr char kLoad[] = "Load";
  AddNumber(command, "--questions_per_second", workload.questions_per_second, 1e-6, 1e6,
            "Questions that arrive in a second, at random moments")
      ->group(kLoad);
  command.add_option("--gateways", workload.gateways, "Gateways through which they come")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str()
      ->group(kLoad);
  command
      .add_option_function<std::string>(
          "--affinity", [&](const std::string& value) { workload.by_affinity = value == kByImage; },
          "How callers choose a replica, as the services' flag of this name says")
      ->check(CLI::IsMember({kByImage, "none"}))
      ->default_str(kByImage)
      ->group(kLoad);
  command.add_option("--images", workload.images, "Images of a question that has any")
      ->check(CLI::Range(0, 64))
      ->capture_default_str()
      ->group(kLoad);
  AddNumber(command, "--text_share", workload.text_share, 0, 1, "Share of the questions that have no image")
      ->group(kLoad);
  AddNumber(command, "--hit_rate", workload.hit_rate, 0, 1, "Share of the images that the language tier has cached")
      ->group(kLoad);
  AddNumber(command, "--text_tokens", workload.text_tokens, 1, 32768, "Tokens of a question's text")->group(kLoad);
  AddNumber(command, "--query_tokens", workload.query_tokens, 0, 4096, "Tokens of the prompt for each image")
      ->group(kLoad);
  AddNumber(command, "--new_tokens", workload.new_tokens, 1, 32768, "Tokens of an answer, on average")->group(kLoad);
  AddNumber(command, "--length_variation", workload.length_variation, 0, 1,
            "Standard deviation of an answer's tokens, divided by their average; 0: all are alike")
      ->group(kLoad);
}

void AddTargets(CLI::App& command, CapacityOptions& options) {
  constexpr char kTargets[] = "Targets";
  AddTime(command, "--first_token_p95", options.first_token_p95,
          "Time within which 95 of 100 questions have their first token: 800ms, 30s, or seconds", "")
      ->group(kTargets);
  AddTime(command, "--answer_p95", options.answer_p95, "Time within which 95 of 100 have their whole answer", "")
      ->group(kTargets);
  AddNumber(command, "--utilization", options.utilization, 0.05, 0.95,
            "Share of what a tier can do that is used at most")
      ->group(kTargets);
  command
      .add_option("--vision_replicas", options.replicas.vision, "Evaluate this many instead of looking for the fewest")
      ->check(CLI::Range(1, kMostReplicas))
      ->group(kTargets);
  command.add_option("--language_replicas", options.replicas.language, "The same")
      ->check(CLI::Range(1, kMostReplicas))
      ->group(kTargets);
}

void AddHardware(CLI::App& command, Hardware& hardware) {
  constexpr char kReplica[] = "What a replica does";
  constexpr double kHour = 3600, kMicrosecond = 1e-6;
  AddNumber(command, "--image_seconds", hardware.vision.image_seconds, kMicrosecond, kHour,
            "Vision transformer, for each image of a pass")
      ->group(kReplica);
  AddNumber(command, "--pass_seconds", hardware.vision.pass_seconds, 0, kHour,
            "Vision transformer, for a pass besides its images")
      ->group(kReplica);
  command
      .add_option("--vision_batch", hardware.vision.max_batch, "Images of a pass at most, as the tier's --max_batch")
      ->check(CLI::Range(1, 64))
      ->default_str(absl::StrCat(kCoreBatch, "; on a GPU ", kGpuBatch))
      ->group(kReplica);
  AddNumber(command, "--token_seconds", hardware.language.row_seconds, kMicrosecond, kHour,
            "Decoder, for each token of a step, of prompts and answers")
      ->group(kReplica);
  AddNumber(command, "--step_seconds", hardware.language.step_seconds, 0, kHour,
            "Decoder, for a step besides its tokens")
      ->group(kReplica);
  AddNumber(command, "--qformer_seconds", hardware.language.qformer_seconds, 0, kHour, "Q-Former, for an image")
      ->group(kReplica);
  command.add_option("--language_batch", hardware.language.max_batch, "Answers of a step at most")
      ->check(CLI::Range(1, 512))
      ->capture_default_str()
      ->group(kReplica);
  AddNumber(command, "--other_seconds", hardware.other_seconds, 0, kHour,
            "Everything else: gateway, transport, decoding")
      ->group(kReplica);
}

void AddPrices(CLI::App& command, CapacityOptions& options) {
  constexpr char kPrices[] = "Hardware and price";
  const auto add_unit = [&](const char* name, std::string& unit, const char* description) {
    command.add_option(name, unit, description)
        ->check(CLI::IsMember({kCoreUnit, kGpuUnit}))
        ->capture_default_str()
        ->group(kPrices);
  };
  add_unit("--vision_unit", options.vision_unit, "What a vision replica runs on");
  AddNumber(command, "--vision_units", options.hardware.vision_units, 0.01, 1024, "How many of them")->group(kPrices);
  add_unit("--language_unit", options.language_unit, "What a language replica runs on");
  AddNumber(command, "--language_units", options.hardware.language_units, 0.01, 1024, "How many of them")
      ->group(kPrices);
  AddNumber(command, "--core_price", options.core_price, 0, 1e6, "Price of a core's hour")->group(kPrices);
  AddNumber(command, "--gpu_price", options.gpu_price, 0, 1e6, "Price of a GPU's hour")->group(kPrices);
}

}  // namespace

void AddPlanCapacity(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand(
      "plan-capacity", "Say how many replicas of each tier a load needs, how long callers wait, and the price");
  const auto options = std::make_shared<CapacityOptions>();
  AddLoad(command, options->workload);
  AddTargets(command, *options);
  AddHardware(command, options->hardware);
  AddPrices(command, *options);
  AddOutputOptions(command, options->json);
  command.footer(
      "No server is asked. The seconds are those of blip2-opt-2.7b in int8 on two cores; give your own. The model and "
      "how far it was checked: docs/scaling.md.");
  command.callback([options, &run] { run = [options] { return PlanCapacity(*options); }; });
}

}  // namespace diptych::cli
