// The declared commands and options, read back from CLI11: the one source of --help, parsing, completions and
// man pages.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace diptych::cli {

// The options that every command takes are in this group.
inline constexpr char kCommonGroup[] = "Common";
// Type names with a meaning to completions.
inline constexpr char kFileType[] = "FILE";
inline constexpr char kFolderType[] = "FOLDER";

std::vector<const CLI::App*> CommandsOf(const CLI::App& app);
// In the order of their declaration, hidden ones and positional ones left out.
std::vector<const CLI::Option*> OptionsOf(const CLI::App& app);
// By the option's group, groups in the order of their first option.
std::vector<std::pair<std::string, std::vector<const CLI::Option*>>> GroupsOf(const CLI::App& app);

// "--image"; the long name, or the short one of an option without.
std::string LongNameOf(const CLI::Option& option);
// "-i, --image"
std::string NamesOf(const CLI::Option& option);
bool TakesValue(const CLI::Option& option);
// May be given several times, or several values in a row.
bool IsList(const CLI::Option& option);
// "FILE", "TEXT", "INT"; empty for a flag.
std::string TypeOf(const CLI::Option& option);
// The words that it takes, if these are all.
std::vector<std::string> ChoicesOf(const CLI::Option& option);
// The description with range, default and environment variable.
std::string DescriptionOf(const CLI::Option& option);

// The option that arguments without a flag belong to: --image, where the command has it; else null.
const CLI::Option* BareArgumentsOf(const CLI::App& app);
// "diptych ask [OPTIONS] [IMAGE...]"
std::string UsageOf(const CLI::App& app);

}  // namespace diptych::cli
