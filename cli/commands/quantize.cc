// diptych quantize: a checkpoint with weights of 8 or 4 bits, written once.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands/commands.h"
#include "cli/connection/client.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string from, to;
  std::string dtype = "int8";
};

// The language service holds what rounds a model. It takes this process' place, so that its exit code and Ctrl-C are
// the command's.
int Quantize(const Options& options) {
  std::error_code error;
  const fs::path binary = fs::read_symlink("/proc/self/exe", error).parent_path() / "language_service";
  std::vector<std::string> words = {binary.string(), "--model=" + options.from, "--round_to=" + options.to,
                                    "--dtype=" + options.dtype};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::fprintf(stderr, "rounding %s to %s; then: diptych serve %s\n", options.from.c_str(), options.dtype.c_str(),
               options.to.c_str());
  execv(argv[0], argv.data());
  std::fprintf(stderr,
               "diptych: language_service is missing; it has to be in the folder of diptych, as after `make build`\n");
  return kFailed;
}

}  // namespace

void AddQuantize(CLI::App& app, Run& run) {
  CLI::App& command =
      *app.add_subcommand("quantize", "Write a model with weights of 8 or 4 bits, which starts in seconds");
  const auto options = std::make_shared<Options>();
  command.add_option("IN", options->from, "Checkpoint folder, or the name of a model in Hugging Face's cache")
      ->required();
  command.add_option("OUT", options->to, "Folder to write; must not exist")->required();
  command.add_option("--dtype", options->dtype, "int8 or int4 [int8]")->check(CLI::IsMember({"int8", "int4"}));
  command.callback([options, &run] { run = [options] { return Quantize(*options); }; });
}

}  // namespace diptych::cli
