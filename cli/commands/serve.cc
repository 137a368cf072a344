// diptych serve: the three tiers on this host, until Ctrl-C.
#include <arpa/inet.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/command_line/option_table.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/pull/pull.h"
#include "cli/stack/log_folder.h"
#include "cli/stack/stack.h"
#include "cli/terminal/text.h"
#include "common/models/hub_name.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

std::atomic<int> signals = 0, last_signal = 0;

// Signals that are already ignored stay ignored: nohup and a shell's & rely on it.
void CountSignals() {
  struct sigaction action = {}, before = {};
  action.sa_handler = [](int signal) {
    last_signal = signal;
    ++signals;
  };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    sigaction(signal, &action, nullptr);
  }
  signal(SIGPIPE, SIG_IGN);  // who reads what is said here may be gone, with Ctrl-C first of all
}

void Say(const std::string& line) {
  std::fprintf(stderr, "[serve] %s\n", line.c_str());
}

// The bundled model: next to the sources, as built, or where an installation puts it.
absl::StatusOr<std::string> BundledModel() {
  std::error_code error;
  const fs::path bin = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& folder :
       {fs::path("models/demo"), bin / "../../../models/demo", bin / "../share/diptych/models/demo"}) {
    if (fs::is_directory(folder, error)) return fs::weakly_canonical(folder, error).string();
  }
  return WithRemedy(MakeError(absl::StatusCode::kNotFound, "MODEL_MISSING",
                              "the bundled demo model is not where this program looks for it"),
                    "Name a model: a checkpoint folder or ORG/NAME, for example Salesforce/blip2-opt-2.7b.");
}

// Addresses that serve chooses, tells the other tiers and prints.
absl::Status CheckFlag(absl::string_view word, absl::string_view flag) {
  const absl::string_view name = flag.substr(0, flag.find('='));
  if (name != "listen" && name != "http_listen") return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("serve chooses where the tiers listen, so it takes no ",
                                                 word.substr(0, word.find('=')),
                                                 "; the gateway's address is set by --host, --port and --http_port"));
}

// "--vision.max_batch=4" goes to the vision service as --max_batch=4.
absl::Status SortFlags(const std::vector<std::string>& words, StackOptions& options) {
  for (const std::string& word : words) {
    bool taken = false;
    for (const auto& [prefix, flags] : {std::pair{"--vision.", &options.vision_flags},
                                        {"--language.", &options.language_flags},
                                        {"--gateway.", &options.gateway_flags}}) {
      if (!absl::StartsWith(word, prefix)) continue;
      const std::string flag = word.substr(std::string(prefix).size());
      DIPTYCH_RETURN_IF_ERROR(CheckFlag(word, flag));
      flags->push_back("--" + flag);
      taken = true;
    }
    if (!taken && !word.starts_with('-')) {
      return absl::InvalidArgumentError(absl::StrCat("serve takes one model; \"", word, "\" is another"));
    }
    if (!taken) {
      return absl::InvalidArgumentError(absl::StrCat(
          "say whose flag ", word, " is: --vision.NAME=VALUE, --language.NAME=VALUE or --gateway.NAME=VALUE"));
    }
  }
  return absl::OkStatus();
}

// This program's command: its name where the shell finds it, else by its path. What the shell finds may be
// a script that has become this program and left its own path as the program's name.
std::string OwnCommand() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error), called = program_invocation_name;
  const char* path = std::getenv("PATH");
  for (const absl::string_view folder : absl::StrSplit(path == nullptr ? "" : path, ':')) {
    const fs::path found = fs::path(std::string(folder)) / self.filename();
    if (fs::equivalent(found, self, error) || fs::equivalent(found, called, error)) return self.filename().string();
  }
  return fs::proximate(called.has_parent_path() ? called : self, error).string();
}

// A model of the cache is named ORG/NAME; callers that know it as NAME find it, too.
void AddShortName(StackOptions& options) {
  const std::string repository = RepositoryOfSnapshot(options.model);
  if (repository.empty() || std::getenv("DIPTYCH_SERVED_MODEL_NAME") != nullptr) return;
  options.gateway_flags.insert(options.gateway_flags.begin(),
                               "--served_model_name=" + repository.substr(repository.find('/') + 1));
}

void PrintReady(const Stack& stack, const StackOptions& options) {
  std::vector<std::vector<std::string>> rows;
  for (const Stack::Row& row : stack.Rows()) {
    rows.push_back({row.tier, row.address, row.metrics, row.model, row.dtype, row.device});
  }
  std::printf("\n%s\n", FormatTable({"READY", "address", "metrics", "model", "dtype", "device"}, rows, {}).c_str());
  std::printf("Open:  http://%s/ is the playground: ask about an image, see where time and tokens go\n",
              stack.http_address().c_str());
  std::printf("Ask:   %s ask --server %s --image FILE --question \"What is it?\"\n", OwnCommand().c_str(),
              stack.grpc_address().c_str());
  std::printf("HTTP:  http://%s/v1 speaks OpenAI's protocol\n", stack.http_address().c_str());
  std::printf("Logs:  %s/    Stop: Ctrl-C\n", options.log_folder.c_str());
  std::fflush(stdout);
}

// Before anything was served: the exit code that shells give a command that a signal ended.
int StoppedEarly() {
  return last_signal == SIGINT ? ReportInterrupt(false) : 128 + last_signal;
}

int Serve(StackOptions options, const std::vector<std::string>& words) {
  absl::Status status = SortFlags(words, options);
  if (!status.ok()) return ReportUsage(status, false);
  if (options.model.empty()) {
    const auto bundled = BundledModel();
    if (!bundled.ok()) return ReportError(bundled.status(), false);
    options.model = *bundled;
  }
  CountSignals();
  const auto folder = FindOrPull(options.model, {.say = Say, .stopped = [] { return signals > 0; }});
  if (absl::IsCancelled(folder.status())) return StoppedEarly();
  if (!folder.ok()) return ReportError(folder.status(), false);
  options.model = *folder;
  AddShortName(options);
  const auto logs = LogFolder::Claim(options.log_folder);
  if (!logs.ok()) return ReportError(logs.status(), false);
  options.log_folder = (*logs)->path();
  int end_at = 1;  // signals
  Stack stack(options, Say, [&end_at] { return signals >= end_at; });
  status = stack.Start();
  if (status.ok()) {
    PrintReady(stack, options);
    stack.KeepRunning();
  }
  const bool stopped = status.ok() || absl::IsCancelled(status);
  if (stopped && last_signal == SIGINT) Say("draining; Ctrl-C again ends it at once");
  if (!stopped) {
    std::fprintf(stderr, "diptych: %s\n", std::string(status.message()).c_str());
  }
  end_at = signals + 1;
  stack.Drain();
  if (!stopped) return kFailed;
  return status.ok() ? kFine : StoppedEarly();
}

}  // namespace

void AddServe(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("serve", "Serve a model: start the three tiers on this host");
  const auto options = std::make_shared<StackOptions>();
  command
      .add_option(
          "MODEL", options->model,
          "Checkpoint folder, or ORG/NAME[@REVISION] on Hugging Face's hub, pulled if needed [the bundled demo model]")
      ->type_name(kFolderType);
  command.allow_extras();
  command.footer(
      "MODEL is a checkpoint folder, or ORG/NAME or ORG/NAME@REVISION on Hugging Face's hub, which is pulled if it "
      "is not in the cache; without it the bundled demo model is served.\n\nFlags of one process: "
      "--vision.NAME=VALUE, --language.NAME=VALUE, --gateway.NAME=VALUE");
  command.add_option("--dtype", options->dtype, "auto, float32, bfloat16, float16, int8, int4 or fp8 [auto]");
  command.add_option("--device", options->device, "cpu, cuda or cuda:N");
  command.add_option("--vision_replicas", options->vision_replicas, "Vision services")->check(CLI::Range(1, 64));
  command.add_option("--language_replicas", options->language_replicas, "Language services")->check(CLI::Range(1, 64));
  command.add_option("--host", options->host, "IPv4 address that the gateway listens on")
      ->check([](const std::string& host) {
        in_addr address;
        return inet_pton(AF_INET, host.c_str(), &address) == 1
                   ? std::string()
                   : absl::StrCat("takes an IPv4 address, for example 127.0.0.1 or 0.0.0.0, not \"", host, "\"");
      });
  command.add_option("--port", options->port, "Port of gRPC [7000, or another if that is taken]")
      ->check(CLI::Range(1, 65535));
  command.add_option("--http_port", options->http_port, "Port of HTTP [8080, or another if that is taken]")
      ->check(CLI::Range(1, 65535));
  command
      .add_option("--log_folder", options->log_folder,
                  "Folder of the tiers' logs, with a number added while another stack uses it [a temporary one, "
                  "removed at the end]")
      ->type_name(kFolderType);
  command.callback([options, &command, &run] {
    std::vector<std::string> words = command.remaining();
    std::erase(words, "--");
    run = [options, words] { return Serve(*options, words); };
  });
}

}  // namespace diptych::cli
