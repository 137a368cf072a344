#include "cli/command_line/help.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "cli/command_line/option_table.h"
#include "cli/terminal/terminal.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

constexpr size_t kNameColumns = 30, kNarrow = 60, kWidest = 120;

// "  name   description", the description on lines of its own where the name is long or the terminal narrow.
std::string Entry(const std::string& name, const std::string& description, size_t columns) {
  const size_t indent = columns < kNarrow ? 6 : kNameColumns;
  std::string text = absl::StrCat("  ", name);
  if (description.empty()) return text + "\n";
  const std::string padding(indent, ' ');
  text += Columns(text) + 2 > indent ? "\n" + padding : std::string(indent - Columns(text), ' ');
  bool first = true;
  for (const std::string& line : WrapText(description, columns - indent)) {
    absl::StrAppend(&text, first ? "" : padding, line, "\n");
    first = false;
  }
  return text;
}

std::string OptionName(const CLI::Option& option) {
  const std::string type = TypeOf(option);
  return absl::StrCat(option.get_snames().empty() ? "    " : "", NamesOf(option), type.empty() ? "" : " ", type,
                      IsList(option) ? "..." : "");
}

std::string Wrapped(const std::string& text, size_t columns) {
  std::string wrapped;
  for (const std::string& line : WrapText(text, columns)) absl::StrAppend(&wrapped, line, "\n");
  return wrapped;
}

class Formatter : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const override {
    return HelpText(*app, TerminalColumns());
  }
};

}  // namespace

std::string HelpText(const CLI::App& app, size_t columns) {
  columns = std::min(std::max<size_t>(columns, 20), kWidest);
  std::string text = absl::StrCat(Wrapped(app.get_description(), columns), "\nUsage: ", UsageOf(app), "\n");
  if (const auto commands = CommandsOf(app); !commands.empty()) {
    absl::StrAppend(&text, "\nCommands\n");
    for (const CLI::App* command : commands) {
      absl::StrAppend(&text, Entry(command->get_name(), command->get_description(), columns));
    }
  }
  for (const auto& [group, options] : GroupsOf(app)) {
    absl::StrAppend(&text, "\n", group, "\n");
    for (const CLI::Option* option : options) {
      absl::StrAppend(&text, Entry(OptionName(*option), DescriptionOf(*option), columns));
    }
  }
  if (!app.get_footer().empty()) absl::StrAppend(&text, "\n", Wrapped(app.get_footer(), columns));
  return text;
}

void UseHelpText(CLI::App& app) {
  app.formatter(std::make_shared<Formatter>());
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) UseHelpText(*command);
}

}  // namespace diptych::cli
