// Command-line flags that can also come from the environment.
#pragma once

#include <string_view>

namespace diptych {

// Sets absl flags: from the command line, as --name=value or --name value, else from the environment variable
// DIPTYCH_<NAME IN CAPITALS>, if there is one. Where a value does not fit, a name is unknown or something is no flag,
// ends the process with status 1 and a line on standard error for each mistake that names the flag, the value and what
// is wanted.
// Times go from 0 to a year. `usage` is the text of --help. Call once, from main.
void ParseFlags(std::string_view usage, int argc, char** argv);

// True if a flag declared in `file` is a binary's own (its main.cc, common/tiers/tier_process.cc) and not a library's.
bool IsOwnFlagFile(std::string_view file);

}  // namespace diptych
