#include "cli/command_line/completion.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/command_line/option_table.h"

namespace diptych::cli {
namespace {

using CommandPath = std::vector<const CLI::App*>;  // without the program itself

std::string Words(const CommandPath& path) {
  return absl::StrJoin(path, " ", [](std::string* out, const CLI::App* app) { out->append(app->get_name()); });
}

// The commands that take options, each with the way to it.
void ForEachCommand(const CLI::App& app, const CommandPath& above,
                    const std::function<void(const CommandPath&, const CLI::App&)>& visit) {
  for (const CLI::App* command : CommandsOf(app)) {
    CommandPath path = above;
    path.push_back(command);
    visit(path, *command);
    ForEachCommand(*command, path, visit);
  }
}

std::vector<std::string> FlagsOf(const CLI::Option& option) {
  std::vector<std::string> flags;
  for (const std::string& name : option.get_snames()) flags.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) flags.push_back("--" + name);
  return flags;
}

std::string CommandNames(const CLI::App& app) {
  return absl::StrJoin(CommandsOf(app), " ",
                       [](std::string* out, const CLI::App* command) { out->append(command->get_name()); });
}

bool IsFile(const CLI::Option& option) {
  return TypeOf(option) == kFileType;
}

bool IsFolder(const CLI::Option& option) {
  return TypeOf(option) == kFolderType;
}

// The first argument without a flag; null if the command takes none.
const CLI::Option* PositionalOf(const CLI::App& app) {
  const auto options = app.get_options([](const CLI::Option* option) { return option->get_positional(); });
  return options.empty() ? nullptr : options.front();
}

std::vector<std::string> PositionalChoices(const CLI::App& app) {
  const CLI::Option* option = PositionalOf(app);
  return option == nullptr ? std::vector<std::string>() : ChoicesOf(*option);
}

bool TakesFolders(const CLI::App& app) {
  const CLI::Option* option = PositionalOf(app);
  return option != nullptr && IsFolder(*option);
}

// Options that may come before the command: the program's own options and those that all commands have in common.
std::vector<const CLI::Option*> OptionsBeforeCommand(const CLI::App& root) {
  std::vector<const CLI::Option*> options = OptionsOf(root);
  for (const CLI::Option* option : OptionsOf(*CommandsOf(root).front())) {
    if (option->get_group() == kCommonGroup) options.push_back(option);
  }
  return options;
}

// Those of them that are followed by a value.
std::vector<std::string> ValueFlagsBeforeCommand(const CLI::App& root) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : OptionsBeforeCommand(root)) {
    if (!TakesValue(*option)) continue;
    for (const std::string& flag : FlagsOf(*option)) flags.push_back(flag);
  }
  return flags;
}

// "ask", "bench", "bench cost", …
std::vector<std::string> AllCommands(const CLI::App& root) {
  std::vector<std::string> commands;
  ForEachCommand(root, {}, [&](const CommandPath& path, const CLI::App&) { commands.push_back(Words(path)); });
  return commands;
}

// Completes the value of an option, as a shell function of the bash script.
std::string BashValue(const CLI::Option& option) {
  if (IsFile(option)) return "_diptych_files";
  if (IsFolder(option)) return "_diptych_folders";
  if (const auto choices = ChoicesOf(option); !choices.empty()) {
    return absl::StrCat("_diptych_words \"", absl::StrJoin(choices, " "), "\"");
  }
  return ":";
}

std::string BashCommand(const CommandPath& path, const CLI::App& command) {
  std::string text = absl::StrCat("    \"", Words(path), "\")\n      case $previous in\n");
  std::vector<std::string> flags;
  for (const CLI::Option* option : OptionsOf(command)) {
    const auto names = FlagsOf(*option);
    flags.insert(flags.end(), names.begin(), names.end());
    if (!TakesValue(*option)) continue;
    absl::StrAppend(&text, "        ", absl::StrJoin(names, "|"), ") ", BashValue(*option), "; return ;;\n");
  }
  const std::string words =
      CommandsOf(command).empty() ? absl::StrJoin(PositionalChoices(command), " ") : CommandNames(command);
  absl::StrAppend(&text, "      esac\n      flags=\"", absl::StrJoin(flags, " "), "\"\n      words=\"", words, "\"\n");
  if (BareArgumentsOf(command) != nullptr) absl::StrAppend(&text, "      complete=_diptych_files\n");
  if (TakesFolders(command)) absl::StrAppend(&text, "      complete=_diptych_folders\n");
  return text + "      ;;\n";
}

constexpr char kBashHead[] = R"(# bash completion for diptych, made by `diptych completion bash`.
_diptych_words() { COMPREPLY=($(compgen -W "$1" -- "$current")); }
_diptych_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -f -- "$current")
}
_diptych_folders() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -d -- "$current")
}
_diptych() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command="" flags="" words="" complete="" i word
  COMPREPLY=()
  # bash takes --flag=value apart at the equals sign.
  if [ "$current" = "=" ]; then current=""; elif [ "$previous" = "=" ]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
)";

constexpr char kBashTail[] = R"(  esac
  case $current in
    -*) _diptych_words "$flags" ;;
    *) if [ -n "$complete" ]; then "$complete"; else _diptych_words "$words"; fi ;;
  esac
}
complete -F _diptych diptych
)";

std::string ZshText(const std::string& text) {
  return absl::StrReplaceAll(text,
                             {{"\\", "\\\\"}, {"[", "\\["}, {"]", "\\]"}, {":", "\\:"}, {"'", "'\\''"}, {"\n", " "}});
}

std::string ZshValue(const CLI::Option& option) {
  if (!TakesValue(option)) return "";
  const auto choices = ChoicesOf(option);
  const std::string action = IsFile(option)     ? "_files"
                             : IsFolder(option) ? "_path_files -/"
                             : !choices.empty() ? absl::StrCat("(", absl::StrJoin(choices, " "), ")")
                                                : "";
  return absl::StrCat(":", ZshText(TypeOf(option)), ":", action);
}

std::string ZshOption(const CLI::Option& option) {
  const auto flags = FlagsOf(option);
  const std::string repeat = IsList(option) ? "*" : "";
  std::string lines;
  for (const std::string& flag : flags) {
    const std::string others = IsList(option) ? "" : absl::StrCat("(", absl::StrJoin(flags, " "), ")");
    const char* equals = TakesValue(option) && flag.rfind("--", 0) == 0 ? "=" : "";  // or the next word
    absl::StrAppend(&lines, " \\\n        '", repeat, others, flag, equals, "[", ZshText(option.get_description()), "]",
                    ZshValue(option), "'");
  }
  return lines;
}

std::string ZshCommands(const CLI::App& app) {
  std::string text = "local -a commands=(";
  for (const CLI::App* command : CommandsOf(app)) {
    absl::StrAppend(&text, "\n      '", command->get_name(), ":", ZshText(command->get_description()), "'");
  }
  return text + ")\n";
}

// A function for one level of commands, which takes these options, and those for the levels below.
std::string ZshFunction(const std::string& name, const CLI::App& app, const std::vector<const CLI::Option*>& options) {
  std::string text = absl::StrCat(name, "() {\n");
  std::string arguments;
  for (const CLI::Option* option : options) arguments += ZshOption(*option);
  if (CommandsOf(app).empty()) {
    absl::StrAppend(&text, "  _arguments", arguments);
    if (BareArgumentsOf(app) != nullptr) absl::StrAppend(&text, " \\\n        '*:image:_files'");
    if (TakesFolders(app)) absl::StrAppend(&text, " \\\n        '*:folder:_path_files -/'");
    const auto choices = PositionalChoices(app);
    if (!choices.empty()) absl::StrAppend(&text, " \\\n        '1: :(", absl::StrJoin(choices, " "), ")'");
    return text + "\n}\n";
  }
  absl::StrAppend(&text, "  local context state state_descr line\n  typeset -A opt_args\n  ", ZshCommands(app),
                  "  _arguments -C", arguments, " \\\n        '1:command:->command' '*::argument:->argument'\n",
                  "  case $state in\n    command) _describe command commands ;;\n    argument) case $words[1] in\n");
  for (const CLI::App* command : CommandsOf(app)) {
    absl::StrAppend(&text, "      ", command->get_name(), ") ", name, "_", command->get_name(), " ;;\n");
  }
  text += "    esac ;;\n  esac\n}\n";
  for (const CLI::App* command : CommandsOf(app)) {
    text += ZshFunction(absl::StrCat(name, "_", command->get_name()), *command, OptionsOf(*command));
  }
  return text;
}

std::string FishText(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}, {"\n", " "}}), "'");
}

// The places of the two lists, flags and commands. fish asks the same condition once a completion.
constexpr char kFishHead[] = R"(# fish completion for diptych, made by `diptych completion fish`.
complete -c diptych -f
function __diptych_behind -d 'True behind this command'
  set -l words (commandline -opc)
  set -l command
  set -l value no
  for word in $words[2..]
    if test $value = yes
      set value no
      continue
    end
    switch $word
      case %s
        set value yes
      case '-*'
      case '*'
        contains -- "$command$word" %s; and set command "$command$word "
    end
  end
  test "$command" = "$argv "; or test -z "$command$argv"
end
)";

std::string FishOption(const std::string& begin, const CLI::Option& option) {
  std::string line = begin;
  for (const std::string& name : option.get_snames()) absl::StrAppend(&line, " -s ", name);
  for (const std::string& name : option.get_lnames()) absl::StrAppend(&line, " -l ", name);
  const auto choices = ChoicesOf(option);
  if (IsFile(option)) {
    absl::StrAppend(&line, " -r -F");
  } else if (IsFolder(option)) {
    absl::StrAppend(&line, " -x -a '(__fish_complete_directories)'");
  } else if (TakesValue(option)) {
    absl::StrAppend(&line, " -x", choices.empty() ? "" : absl::StrCat(" -a '", absl::StrJoin(choices, " "), "'"));
  }
  return absl::StrCat(line, " -d ", FishText(option.get_description()), "\n");
}

// The beginning of a line for those after this command.
std::string FishLine(const CommandPath& path) {
  return absl::StrCat("complete -c diptych -n '__diptych_behind", path.empty() ? "" : " ", Words(path), "'");
}

std::string FishCommand(const CommandPath& path, const CLI::App& command) {
  const std::string begin = FishLine(path);
  std::string text = absl::StrCat(FishLine({path.begin(), path.end() - 1}), " -a ", command.get_name(), " -d ",
                                  FishText(command.get_description()), "\n");
  if (BareArgumentsOf(command) != nullptr) absl::StrAppend(&text, begin, " -F\n");
  if (TakesFolders(command)) absl::StrAppend(&text, begin, " -a '(__fish_complete_directories)'\n");
  const auto choices = PositionalChoices(command);
  if (!choices.empty()) absl::StrAppend(&text, begin, " -a '", absl::StrJoin(choices, " "), "'\n");
  for (const CLI::Option* option : OptionsOf(command)) text += FishOption(begin, *option);
  return text;
}

}  // namespace

std::string BashCompletion(const CLI::App& root) {
  std::string text = absl::StrCat(
      kBashHead, "      ", absl::StrJoin(ValueFlagsBeforeCommand(root), "|"),
      ") i=$((i + 1)); [ \"${COMP_WORDS[i]}\" != \"=\" ] || i=$((i + 1)) ;;\n"
      "      -*) ;;\n      *) case \"${command:+$command }$word\" in\n          \"",
      absl::StrJoin(AllCommands(root), "\"|\""),
      "\") command=${command:+$command }$word ;;\n        esac ;;\n    esac\n  done\n  case $command in\n");
  std::vector<std::string> flags;
  for (const CLI::Option* option : OptionsBeforeCommand(root)) {
    for (const std::string& flag : FlagsOf(*option)) flags.push_back(flag);
  }
  absl::StrAppend(&text, "    \"\")\n      flags=\"", absl::StrJoin(flags, " "), "\"\n      words=\"",
                  CommandNames(root), "\"\n      ;;\n");
  ForEachCommand(root, {},
                 [&](const CommandPath& path, const CLI::App& command) { text += BashCommand(path, command); });
  return text + kBashTail;
}

std::string ZshCompletion(const CLI::App& root) {
  return absl::StrCat("#compdef diptych\n# zsh completion for diptych, made by `diptych completion zsh`.\n",
                      ZshFunction("_diptych", root, OptionsBeforeCommand(root)),
                      "if [ \"$funcstack[1]\" = _diptych ]; then _diptych \"$@\"; else compdef _diptych diptych; fi\n");
}

std::string FishCompletion(const CLI::App& root) {
  std::string text = absl::StrFormat(kFishHead, absl::StrJoin(ValueFlagsBeforeCommand(root), " "),
                                     absl::StrCat("'", absl::StrJoin(AllCommands(root), "' '"), "'"));
  for (const CLI::Option* option : OptionsBeforeCommand(root)) text += FishOption(FishLine({}), *option);
  ForEachCommand(root, {},
                 [&](const CommandPath& path, const CLI::App& command) { text += FishCommand(path, command); });
  return text;
}

}  // namespace diptych::cli
