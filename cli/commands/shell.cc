// diptych completion and diptych man: what shells and man show of the commands.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/command_line/completion.h"
#include "cli/command_line/man_page.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"

namespace diptych::cli {
namespace {

int PrintCompletion(const CLI::App& root, const std::string& shell) {
  const std::string script = shell == "bash"  ? BashCompletion(root)
                             : shell == "zsh" ? ZshCompletion(root)
                                              : FishCompletion(root);
  std::fputs(script.c_str(), stdout);
  return kFine;
}

int PrintManPage(const CLI::App& root) {
  std::fputs(ManPage(root).c_str(), stdout);
  return kFine;
}

}  // namespace

void AddCompletion(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("completion", "Print the completion script of a shell");
  const auto shell = std::make_shared<std::string>();
  command.add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command.footer(
      "bash: diptych completion bash > ~/.local/share/bash-completion/completions/diptych\n"
      "zsh:  diptych completion zsh > FOLDER_IN_FPATH/_diptych\n"
      "fish: diptych completion fish > ~/.config/fish/completions/diptych.fish");
  command.callback([shell, &app, &run] { run = [shell, &app] { return PrintCompletion(app, *shell); }; });
}

void AddMan(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("man", "Print the manual page");
  command.footer("diptych man | man -l -");
  command.callback([&app, &run] { run = [&app] { return PrintManPage(app); }; });
}

}  // namespace diptych::cli
