// diptych serve: the three tiers on this host, until Ctrl-C.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/stack/stack.h"
#include "cli/terminal/text.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

std::atomic<int> signals = 0;

void CountSignals() {
  struct sigaction action {};
  action.sa_handler = [](int) { ++signals; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
}

void Say(const std::string& line) {
  std::fprintf(stderr, "[serve] %s\n", line.c_str());
}

// The bundled model: beside the sources, as built, or where an installation puts it.
std::string BundledModel() {
  std::error_code error;
  const fs::path bin = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& folder :
       {fs::path("models/demo"), bin / "../../../models/demo", bin / "../share/diptych/models/demo"}) {
    if (fs::is_directory(folder, error)) return fs::weakly_canonical(folder, error).string();
  }
  return "models/demo";
}

// "--vision.max_batch=4" goes to the vision service as --max_batch=4.
absl::Status SortFlags(const std::vector<std::string>& words, StackOptions& options) {
  for (const std::string& word : words) {
    bool taken = false;
    for (const auto& [prefix, flags] : {std::pair{"--vision.", &options.vision_flags},
                                        {"--language.", &options.language_flags},
                                        {"--gateway.", &options.gateway_flags}}) {
      if (!absl::StartsWith(word, prefix)) continue;
      flags->push_back("--" + word.substr(std::string(prefix).size()));
      taken = true;
    }
    if (!taken) {
      return absl::InvalidArgumentError(absl::StrCat(
          "say whose flag ", word, " is: --vision.NAME=VALUE, --language.NAME=VALUE or --gateway.NAME=VALUE"));
    }
  }
  return absl::OkStatus();
}

absl::Status MakeLogFolder(StackOptions& options) {
  std::error_code error;
  if (options.log_folder.empty()) {
    options.log_folder = (fs::temp_directory_path(error) / absl::StrCat("diptych-", getpid())).string();
  }
  fs::create_directories(options.log_folder, error);
  return error ? absl::FailedPreconditionError(absl::StrCat("cannot make the folder of logs ", options.log_folder))
               : absl::OkStatus();
}

void PrintReady(const Stack& stack, const StackOptions& options) {
  std::vector<std::vector<std::string>> rows;
  for (const Stack::Row& row : stack.Rows()) {
    rows.push_back({row.tier, row.address, row.metrics, row.model, row.dtype, row.device});
  }
  std::printf("\n%s\n", FormatTable({"READY", "address", "metrics", "model", "dtype", "device"}, rows, {}).c_str());
  std::printf("Open:  http://%s/ is the playground: ask about an image, see where time and tokens go\n",
              stack.http_address().c_str());
  std::printf("Ask:   diptych ask --server %s --image FILE --question \"What is it?\"\n", stack.grpc_address().c_str());
  std::printf("HTTP:  http://%s/v1 speaks OpenAI's protocol\n", stack.http_address().c_str());
  std::printf("Logs:  %s/    Stop: Ctrl-C\n", options.log_folder.c_str());
  std::fflush(stdout);
}

int Serve(StackOptions options, const std::vector<std::string>& words) {
  if (options.model.empty()) options.model = BundledModel();
  absl::Status status = SortFlags(words, options);
  if (!status.ok()) {
    std::fprintf(stderr, "diptych: %s\n", std::string(status.message()).c_str());
    return kUsage;
  }
  status = MakeLogFolder(options);
  int end_at = 1;  // signals
  Stack stack(options, Say, [&end_at] { return signals >= end_at; });
  CountSignals();
  if (status.ok()) status = stack.Start();
  if (status.ok()) {
    PrintReady(stack, options);
    stack.Watch();
  }
  const bool stopped = status.ok() || absl::IsCancelled(status);
  if (stopped) {
    Say("draining; Ctrl-C again ends it at once");
  } else {
    std::fprintf(stderr, "diptych: %s\n", std::string(status.message()).c_str());
  }
  end_at = signals + 1;
  stack.Drain();
  return stopped ? kFine : kFailed;
}

}  // namespace

void AddServe(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("serve", "Serve a model: start the three tiers on this host");
  const auto options = std::make_shared<StackOptions>();
  command.add_option("MODEL", options->model, "Checkpoint folder [the bundled demo model]");
  command.allow_extras();
  command.footer("Flags of a tier's own: --vision.NAME=VALUE, --language.NAME=VALUE, --gateway.NAME=VALUE");
  command.add_option("--dtype", options->dtype, "float32, bfloat16, float16, int8 or int4 [float32]");
  command.add_option("--device", options->device, "cpu, cuda or cuda:N");
  command.add_option("--vision_replicas", options->vision_replicas, "Vision services")->check(CLI::Range(1, 64));
  command.add_option("--language_replicas", options->language_replicas, "Language services")->check(CLI::Range(1, 64));
  command.add_option("--host", options->host, "IPv4 address that the gateway listens on");
  command.add_option("--port", options->port, "Port of gRPC [7000, or another if that is taken]")
      ->check(CLI::Range(1, 65535));
  command.add_option("--http_port", options->http_port, "Port of HTTP [8080, or another if that is taken]")
      ->check(CLI::Range(1, 65535));
  command.add_option("--log_folder", options->log_folder, "Folder of the tiers' logs [a temporary one]");
  command.callback([options, &command, &run] {
    std::vector<std::string> words = command.remaining();
    std::erase(words, "--");
    run = [options, words] { return Serve(*options, words); };
  });
}

}  // namespace diptych::cli
