// Scripts that teach a shell to complete the commands and options that are declared.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace diptych::cli {

std::string BashCompletion(const CLI::App& root);
std::string ZshCompletion(const CLI::App& root);
std::string FishCompletion(const CLI::App& root);

}  // namespace diptych::cli
