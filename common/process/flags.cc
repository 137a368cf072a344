#include "common/process/flags.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <vector>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/process/build_info.h"
#include "common/status.h"
#include "common/text/nearest_word.h"

namespace diptych {
namespace {

constexpr absl::Duration kLongest = absl::Hours(24 * 365);

std::string NameOfProgram(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// The file as the project knows it, "gateway/main.cc", wherever it was compiled.
std::string FileOfProject(absl::string_view path) {
  constexpr absl::string_view kThisFile = __FILE__;
  return std::string(absl::StripPrefix(path, absl::StripSuffix(kThisFile, "common/process/flags.cc")));
}

bool IsOwn(const absl::CommandLineFlag& flag) {
  return IsOwnFlagFile({flag.Filename().data(), flag.Filename().size()});
}

// absl's, which print something in place of starting. They are no flags to FindCommandLineFlag.
bool IsHelp(absl::string_view name) {
  return name == "help" || name == "helpfull" || name == "helpshort" || name == "version";
}

// Describes valid values of the flag; `said` is the error of its type's own parser.
std::string WantedBy(const absl::CommandLineFlag& flag, const std::string& said) {
  if (flag.IsOfType<bool>()) return "takes true or false";
  if (flag.IsOfType<int>()) return "takes a whole number up to 2147483647";
  if (flag.IsOfType<int64_t>()) return "takes a whole number";
  if (flag.IsOfType<double>()) return "takes a number";
  if (flag.IsOfType<absl::Duration>()) return "takes a time with its unit, for example 250ms, 30s or 5m";
  const size_t last = said.rfind("; ");
  return last == std::string::npos ? said : said.substr(last + 2);
}

// Of what has been parsed.
std::string OutOfBounds(const absl::CommandLineFlag& flag) {
  const auto time = flag.TryGet<absl::Duration>();
  if (time && (*time < absl::ZeroDuration() || *time > kLongest)) return "takes a time from 0 to a year (8760h)";
  return "";
}

// `source` is how the value was given, for example --max_inflight or DIPTYCH_MAX_INFLIGHT.
absl::Status Set(absl::CommandLineFlag& flag, absl::string_view source, absl::string_view value) {
  std::string error;
  std::string wanted = flag.ParseFrom(value, &error) ? OutOfBounds(flag) : WantedBy(flag, error);
  if (wanted.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(source, "=", absl::Utf8SafeCHexEscape(value), ": ", wanted));
}

using Mistakes = std::vector<std::string>;

void Note(const absl::Status& status, Mistakes& mistakes) {
  if (!status.ok()) mistakes.emplace_back(status.message());
}

void SetFromEnvironment(Mistakes& mistakes) {
  for (auto& [name, flag] : absl::GetAllFlags()) {
    if (!IsOwn(*flag)) continue;
    const std::string variable = absl::StrCat("DIPTYCH_", absl::AsciiStrToUpper(name));
    const char* value = std::getenv(variable.c_str());
    if (value != nullptr) Note(Set(*flag, variable, value), mistakes);
  }
}

absl::Status UnknownFlag(absl::string_view name) {
  std::vector<std::string> names;
  for (const auto& [own, flag] : absl::GetAllFlags()) {
    if (IsOwn(*flag)) names.emplace_back(own);
  }
  std::sort(names.begin(), names.end());  // of those that begin as typed, the shortest is meant
  const std::string word = absl::AsciiStrToLower(absl::StrReplaceAll(name, {{"-", "_"}}));
  const std::string nearest = NearestWord(word, names);
  return absl::InvalidArgumentError(absl::StrCat("--", name, " is not a flag; ",
                                                 nearest.empty() ? "" : absl::StrCat("did you mean --", nearest, "? "),
                                                 "--help lists all"));
}

// A flag of the command line, taken apart.
struct TypedFlag {
  absl::CommandLineFlag* flag = nullptr;  // null: none has that name
  absl::string_view name;
  std::optional<absl::string_view> value;
};

TypedFlag TakeApart(absl::string_view typed) {
  const size_t equals = typed.find('=');
  TypedFlag taken{.name = typed.substr(0, equals), .value = std::nullopt};
  if (equals != absl::string_view::npos) taken.value = typed.substr(equals + 1);
  taken.flag = absl::FindCommandLineFlag(taken.name);
  absl::string_view positive = taken.name;
  if (taken.flag == nullptr && !taken.value && absl::ConsumePrefix(&positive, "no")) {
    taken.flag = absl::FindCommandLineFlag(positive);
    if (taken.flag != nullptr && !taken.flag->IsOfType<bool>()) taken.flag = nullptr;
    taken.value = "false";
  }
  if (taken.flag != nullptr && !IsOwn(*taken.flag)) taken.flag = nullptr;
  return taken;
}

// Sets the flag that `typed`, without its hyphens, gives; its value may be the first of `rest`, which then loses it.
absl::Status SetTyped(absl::string_view typed, std::span<char* const>& rest) {
  TypedFlag taken = TakeApart(typed);
  if (IsHelp(taken.name)) return absl::OkStatus();
  if (!taken.value && taken.flag != nullptr && taken.flag->IsOfType<bool>()) taken.value = "true";
  if (!taken.value && !rest.empty() && !absl::StartsWith(rest.front(), "--")) {
    taken.value = rest.front();
    rest = rest.subspan(1);
  }
  if (taken.flag == nullptr) return UnknownFlag(taken.name);
  if (!taken.value) return absl::InvalidArgumentError(absl::StrCat("--", taken.name, " takes a value"));
  return Set(*taken.flag, absl::StrCat("--", taken.name), *taken.value);
}

// absl would set them, too, but tells neither what is wanted nor what is meant, and takes what no flag of ours may be.
void SetFromCommandLine(std::span<char* const> rest, Mistakes& mistakes) {
  while (!rest.empty()) {
    absl::string_view typed = rest.front();
    rest = rest.subspan(1);
    const bool is_flag = typed.size() > 1 && absl::ConsumePrefix(&typed, "-");
    absl::ConsumePrefix(&typed, "-");
    if (is_flag && typed.empty() && rest.empty()) return;  // "--" ends the flags
    if (!is_flag || typed.empty()) {
      mistakes.push_back(
          absl::StrCat("takes flags only, --name=value, not '", is_flag ? rest.front() : typed, "'; --help lists all"));
      return;
    }
    Note(SetTyped(typed, rest), mistakes);
  }
}

// One sentence for each mistake.
Mistakes SetFlags(std::span<char* const> arguments) {
  Mistakes mistakes;
  SetFromEnvironment(mistakes);  // first, so that the command line wins
  SetFromCommandLine(arguments, mistakes);
  return mistakes;
}

bool AsksForHelp(std::span<char* const> arguments) {
  return std::any_of(arguments.begin(), arguments.end(), [](absl::string_view typed) {
    return absl::ConsumePrefix(&typed, "-") && (absl::ConsumePrefix(&typed, "-"), IsHelp(typed));
  });
}

}  // namespace

void ParseFlags(std::string_view usage, int argc, char** argv) {
  const std::string program = NameOfProgram(argv[0]);
  absl::FlagsUsageConfig config;
  config.contains_help_flags = [](absl::string_view file) { return IsOwnFlagFile({file.data(), file.size()}); };
  config.normalize_filename = FileOfProject;
  config.version_string = [program] {
    return absl::StrCat(program, " ", std::string(Version()), " (commit ", std::string(Commit()), ")\n");
  };
  absl::SetFlagsUsageConfig(config);
  absl::SetProgramUsageMessage(
      absl::StrCat(std::string(usage), "\nEach flag can also be set in the environment, as DIPTYCH_<NAME>."));
  const std::span<char* const> arguments(argv + 1, static_cast<size_t>(argc - 1));
  const Mistakes mistakes = SetFlags(arguments);
  for (const std::string& mistake : mistakes) std::fprintf(stderr, "%s: %s\n", program.c_str(), mistake.c_str());
  if (!mistakes.empty()) std::exit(1);
  if (AsksForHelp(arguments)) {
    std::atexit([] {  // absl would end with 1
      const bool shown = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
      std::_Exit(shown ? EXIT_SUCCESS : EXIT_FAILURE);
    });
  }
  absl::ParseCommandLine(argc, argv);  // shows help, if that was asked for
}

bool IsOwnFlagFile(std::string_view file) {
  return file.ends_with("/main.cc") || file.ends_with("/tier_process.cc");
}

}  // namespace diptych
