#include "common/flags.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/build_info.h"

namespace diptych {
namespace {

void SetFromEnvironment() {
  for (auto& [name, flag] : absl::GetAllFlags()) {
    const char* value = std::getenv(absl::StrCat("DIPTYCH_", absl::AsciiStrToUpper(name)).c_str());
    if (value == nullptr) continue;
    std::string error;
    if (!flag->ParseFrom(value, &error)) {
      std::fprintf(stderr, "ERROR: environment variable DIPTYCH_%s: %s\n", absl::AsciiStrToUpper(name).c_str(),
                   error.c_str());
      std::exit(2);
    }
  }
}

std::string NameOfProgram(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

std::vector<std::string> ParseFlags(std::string_view usage, int argc, char** argv) {
  absl::FlagsUsageConfig config;
  config.contains_help_flags = [](absl::string_view file) { return IsOwnFlagFile({file.data(), file.size()}); };
  config.version_string = [name = NameOfProgram(argv[0])] {
    return absl::StrCat(name, " ", std::string(Version()), " (commit ", std::string(Commit()), ")\n");
  };
  absl::SetFlagsUsageConfig(config);
  absl::SetProgramUsageMessage(absl::string_view(usage.data(), usage.size()));
  SetFromEnvironment();  // first, so that the command line wins
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  return std::vector<std::string>(rest.begin() + 1, rest.end());
}

bool IsOwnFlagFile(std::string_view file) {
  return file.ends_with("/main.cc") || file.ends_with("/tier_process.cc");
}

}  // namespace diptych
