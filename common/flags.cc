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
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace diptych {
namespace {

void SetFromEnvironment() {
  for (auto& [name, flag] : absl::GetAllFlags()) {
    const char* value = std::getenv(absl::StrCat("DIPTYCH_", absl::AsciiStrToUpper(name)).c_str());
    if (value == nullptr) continue;
    std::string error;
    if (!flag->ParseFrom(value, &error)) {
      std::fprintf(stderr, "ERROR: environment variable DIPTYCH_%s: %s\n", absl::AsciiStrToUpper(name).c_str(), error.c_str());
      std::exit(2);
    }
  }
}

}  // namespace

std::vector<std::string> ParseFlags(std::string_view usage, int argc, char** argv) {
  // Every binary declares its flags in its main.cc; --help shows those and not the libraries' own.
  absl::FlagsUsageConfig config;
  config.contains_help_flags = [](absl::string_view file) { return absl::EndsWith(file, "/main.cc"); };
  absl::SetFlagsUsageConfig(config);
  absl::SetProgramUsageMessage(absl::string_view(usage.data(), usage.size()));
  SetFromEnvironment();  // first, so that the command line wins
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  return std::vector<std::string>(rest.begin() + 1, rest.end());
}

}  // namespace diptych
