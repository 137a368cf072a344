#include "cli/command_line/option_table.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace diptych::cli {
namespace {

// CLI11 writes a type as "INT:INT in [1 - 64]" or "TEXT:{a,b}": the part behind the colon.
std::string CheckOf(const CLI::Option& option) {
  const std::string name = option.get_type_name();
  const size_t colon = name.find(':');
  return colon == std::string::npos ? "" : name.substr(colon + 1);
}

// "1 to 64" of "INT in [1 - 64]", else empty.
std::string RangeOf(const CLI::Option& option) {
  const std::string check = CheckOf(option);
  const size_t begin = check.find('['), end = check.find(']');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "";
  return absl::StrReplaceAll(check.substr(begin + 1, end - begin - 1), {{" - ", " to "}});
}

}  // namespace

std::vector<const CLI::App*> CommandsOf(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* command) { return !command->get_group().empty(); });
}

std::vector<const CLI::Option*> OptionsOf(const CLI::App& app) {
  return app.get_options(
      [](const CLI::Option* option) { return option->nonpositional() && !option->get_group().empty(); });
}

std::vector<std::pair<std::string, std::vector<const CLI::Option*>>> GroupsOf(const CLI::App& app) {
  std::vector<std::pair<std::string, std::vector<const CLI::Option*>>> groups;
  for (const CLI::Option* option : OptionsOf(app)) {
    const auto has_name = [option](const auto& group) { return group.first == option->get_group(); };
    auto group = std::find_if(groups.begin(), groups.end(), has_name);
    if (group == groups.end()) group = groups.insert(groups.end(), {option->get_group(), {}});
    group->second.push_back(option);
  }
  return groups;
}

std::string LongNameOf(const CLI::Option& option) {
  if (!option.get_lnames().empty()) return "--" + option.get_lnames().front();
  return option.get_snames().empty() ? "" : "-" + option.get_snames().front();
}

std::string NamesOf(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return absl::StrJoin(names, ", ");
}

bool TakesValue(const CLI::Option& option) {
  return option.get_expected_max() > 0 && option.get_type_size() > 0;
}

bool IsList(const CLI::Option& option) {
  return TakesValue(option) && option.get_expected_max() > 1;
}

std::string TypeOf(const CLI::Option& option) {
  if (!TakesValue(option)) return "";
  const std::string name = option.get_type_name();
  return name.substr(0, name.find(':'));
}

std::vector<std::string> ChoicesOf(const CLI::Option& option) {
  const std::string check = CheckOf(option);
  const size_t begin = check.find('{'), end = check.find('}');
  if (begin == std::string::npos || end == std::string::npos) return {};
  return absl::StrSplit(check.substr(begin + 1, end - begin - 1), ',', absl::SkipEmpty());
}

std::string DescriptionOf(const CLI::Option& option) {
  std::vector<std::string> notes;
  if (const std::string range = RangeOf(option); !range.empty()) notes.push_back(range);
  const std::string fallback = absl::StrReplaceAll(option.get_default_str(), {{"[", ""}, {"]", ""}});
  if (!fallback.empty()) notes.push_back("default " + fallback);
  if (!option.get_envname().empty()) notes.push_back("or " + option.get_envname());
  if (option.get_required()) notes.push_back("required");
  return notes.empty() ? option.get_description()
                       : absl::StrCat(option.get_description(), " [", absl::StrJoin(notes, "; "), "]");
}

const CLI::Option* BareArgumentsOf(const CLI::App& app) {
  return app.get_option_no_throw("--image");
}

std::string UsageOf(const CLI::App& app) {
  std::string path;
  for (const CLI::App* command = &app; command != nullptr; command = command->get_parent()) {
    path = path.empty() ? command->get_name() : absl::StrCat(command->get_name(), " ", path);
  }
  if (!CommandsOf(app).empty()) return path + " COMMAND [OPTIONS]";
  absl::StrAppend(&path, " [OPTIONS]");
  for (const CLI::Option* option : app.get_options([](const CLI::Option* o) { return o->get_positional(); })) {
    const std::string name = absl::StrCat(option->get_name(true));
    absl::StrAppend(&path, option->get_required() ? absl::StrCat(" ", name) : absl::StrCat(" [", name, "]"));
  }
  const CLI::Option* bare = BareArgumentsOf(app);
  if (bare == nullptr) return path;
  const std::string image = IsList(*bare) ? "IMAGE..." : "IMAGE";
  return absl::StrCat(path, bare->get_required() ? absl::StrCat(" ", image) : absl::StrCat(" [", image, "]"));
}

}  // namespace diptych::cli
