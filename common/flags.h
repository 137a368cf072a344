// Command-line flags that can also come from the environment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace diptych {

// Parses absl flags. A flag that the command line does not set takes the value of the environment
// variable DIPTYCH_<NAME IN CAPITALS>, if there is one. Ends the process with status 2 and one line
// on standard error if a value does not parse. Returns the positional arguments without argv[0].
// `usage` is the text of --help. Call once, from main.
std::vector<std::string> ParseFlags(std::string_view usage, int argc, char** argv);

// True if a flag declared in `file` is a binary's own (its main.cc, common/tier_process.cc) and not a library's.
bool IsOwnFlagFile(std::string_view file);

}  // namespace diptych
