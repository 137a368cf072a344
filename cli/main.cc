// diptych: asks a gateway from the command line.
#include <google/protobuf/stubs/logging.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "common/build_info.h"

int main(int argc, char** argv) {
  google::protobuf::SetLogHandler(nullptr);  // it would log text that is not UTF-8; the server says so better
  CLI::App app("Ask questions about images. Every command has --help.", "diptych");
  app.set_version_flag("--version", std::string(diptych::Version()));
  app.require_subcommand(1);
  diptych::cli::Run run;
  diptych::cli::AddAsk(app, run);
  diptych::cli::AddChat(app, run);
  diptych::cli::AddAnalyze(app, run);
  diptych::cli::AddAttention(app, run);
  diptych::cli::AddBudget(app, run);
  diptych::cli::AddSweep(app, run);
  diptych::cli::AddBench(app, run);
  diptych::cli::AddServe(app, run);
  diptych::cli::AddModels(app, run);
  diptych::cli::AddStatus(app, run);
  diptych::cli::AddDoctor(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wish) {  // --help, --version
    return app.exit(wish);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "diptych: %s\n", error.what());
    std::fprintf(stderr, "`diptych --help` and `diptych COMMAND --help` tell what there is.\n");
    return diptych::cli::kUsage;
  }
  return run();
}
