// diptych: asks a gateway from the command line.
#include <google/protobuf/stubs/logging.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cli/command_line/arguments.h"
#include "cli/command_line/help.h"
#include "cli/command_line/option_table.h"
#include "cli/command_line/plain_values.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/terminal/terminal.h"
#include "common/process/build_info.h"
#include "common/process/standard_streams.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

// The last one counts where an option that takes one value is given several times.
void LetTheLastWin(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (TakesValue(*option) && !IsList(*option)) option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) LetTheLastWin(*command);
}

void AddCommands(CLI::App& app, Run& run) {
  app.set_version_flag("--version", std::string(Version()));
  app.require_subcommand(1);
  AddAsk(app, run);
  AddChat(app, run);
  AddAnalyze(app, run);
  AddAttention(app, run);
  AddBudget(app, run);
  AddSweep(app, run);
  AddBench(app, run);
  AddServe(app, run);
  AddPull(app, run);
  AddPlanCapacity(app, run);
  AddQuantize(app, run);
  AddModels(app, run);
  AddStatus(app, run);
  AddDoctor(app, run);
  AddCompletion(app, run);
  AddMan(app, run);
  LetTheLastWin(app);
  RequirePlainValues(app);
  UseHelpText(app);
}

// "bench", where the words end before its command.
std::string UnfinishedCommand(const CLI::App& app) {
  for (const CLI::App* command : app.get_subcommands()) {
    if (!CommandsOf(*command).empty() && command->get_subcommands().empty()) return command->get_name();
  }
  return "";
}

// CLI11 only says that a subcommand is required.
std::string WhatIsWrong(const CLI::App& app, const CLI::ParseError& error) {
  const std::string command = UnfinishedCommand(app);
  if (command.empty()) return error.what();
  return absl::StrCat("a command is missing behind ", command, "; `diptych ", command, " --help` lists them");
}

int Main(std::vector<std::string> typed) {
  if (!typed.empty() && typed.front() == "help") {  // as git and docker take it
    typed.erase(typed.begin());
    typed.push_back("--help");
  }
  CLI::App app("Ask questions about images. Every command has --help.", "diptych");
  Run run;
  AddCommands(app, run);
  const bool json =
      std::any_of(typed.begin(), typed.end(), [](auto& word) { return word == "--json" || word == "-j"; });
  const auto misread = [json](const std::string& message) {
    return ReportUsage(absl::InvalidArgumentError(message), json);
  };
  auto arguments = ArrangeArguments(app, typed);
  if (!arguments.ok()) return misread(std::string(arguments.status().message()));
  if (arguments->empty()) return misread("a command is missing, for example: diptych ask cat.jpg -q \"What is this?\"");
  std::reverse(arguments->begin(), arguments->end());  // as CLI11 takes them
  try {
    app.parse(*std::move(arguments));
  } catch (const CLI::Success& wish) {  // --help, --version
    return app.exit(wish);
  } catch (const CLI::ParseError& error) {
    return misread(WhatIsWrong(app, error));
  }
  return run();
}

// The exit code, once all that was printed has arrived: an answer that no disk took is not done.
int FinishOutput(int code) {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  const std::string why = errno == 0 ? "" : absl::StrCat(": ", std::strerror(errno));
  ReportError(WithRemedy(MakeError(absl::StatusCode::kFailedPrecondition, "OUTPUT_NOT_WRITABLE",
                                   absl::StrCat("cannot write standard output", why)),
                         "What was written is not complete: make room, or write it elsewhere, and run it again."),
              false);
  return code == kFine ? kFailed : code;
}

}  // namespace
}  // namespace diptych::cli

int main(int argc, char** argv) {
  diptych::OpenStandardStreams();
  google::protobuf::SetLogHandler(nullptr);  // it would log text that is not UTF-8; the server says so better
  setenv("GRPC_VERBOSITY", "NONE", 0);       // what it would log is said as an error
  diptych::cli::UseUtf8();
  const int code = diptych::cli::Main(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  return diptych::cli::FinishOutput(code);
}
