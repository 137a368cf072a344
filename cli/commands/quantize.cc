// diptych quantize: a checkpoint with weights of 8 or 4 bits, written once.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/command_line/option_table.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/terminal/interrupt.h"
#include "common/files.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string from, to;
  std::string dtype = "int8";
};

// In the child, which ends with its parent.
[[noreturn]] void RunInstead(char* const* argv, const sigset_t& signals, pid_t parent) {
  constexpr char kMissing[] =
      "diptych: language_service is missing; it has to be in the folder of diptych, as after `make build`\n";
  sigprocmask(SIG_SETMASK, &signals, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() == parent) execv(argv[0], argv);
  (void)!write(STDERR_FILENO, kMissing, sizeof(kMissing) - 1);
  _exit(kFailed);
}

// Runs a program and waits: what would end this process ends that one. The exit code, as shells have it.
int RunToItsEnd(char* const* argv) {
  sigset_t awaited, before;
  sigemptyset(&awaited);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&awaited, signal);
  sigprocmask(SIG_BLOCK, &awaited, &before);
  const pid_t parent = getpid(), child = fork();
  if (child == 0) RunInstead(argv, before, parent);
  int status = 0;
  while (child > 0 && waitpid(child, &status, WNOHANG) == 0) {
    const int signal = sigwaitinfo(&awaited, nullptr);
    if (signal > 0 && signal != SIGCHLD) kill(child, signal);
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return kFailed;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// The language service holds what rounds a model. What it leaves when it is killed is removed.
int Quantize(const Options& options) {
  std::error_code error;
  const fs::path binary = fs::read_symlink("/proc/self/exe", error).parent_path() / "language_service";
  const fs::path named = options.to, to = named.has_filename() ? named : named.parent_path();
  std::vector<std::string> words = {binary.string(), "--model=" + options.from, "--round_to=" + to.string(),
                                    "--dtype=" + options.dtype};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::fprintf(stderr, "rounding %s to %s; then: diptych serve %s\n", options.from.c_str(), options.dtype.c_str(),
               options.to.c_str());
  const int code = RunToItsEnd(argv.data());
  RemoveAbandoned(to);
  if (code == kInterrupted) return ReportInterrupt(false);
  if (code == 128 + SIGKILL) std::fprintf(stderr, "diptych: killed, as the kernel does where memory runs out\n");
  return code;
}

}  // namespace

void AddQuantize(CLI::App& app, Run& run) {
  CLI::App& command =
      *app.add_subcommand("quantize", "Write a model with weights of 8 or 4 bits, which starts in seconds");
  const auto options = std::make_shared<Options>();
  command.add_option("IN", options->from, "Checkpoint folder, or the name of a model in Hugging Face's cache")
      ->required()
      ->type_name(kFolderType);
  command.add_option("OUT", options->to, "Folder to write; must not exist")->required()->type_name(kFolderType);
  command.add_option("--dtype", options->dtype, "int8 or int4 [int8]")->check(CLI::IsMember({"int8", "int4"}));
  command.callback([options, &run] { run = [options] { return Quantize(*options); }; });
}

}  // namespace diptych::cli
