#pragma once

#include <string>

namespace CLI {
class App;
}

namespace diptych::cli {

// What --help prints, `columns` wide.
std::string HelpText(const CLI::App& app, size_t columns);

// Makes --help of the app and all its commands print that, as wide as the terminal.
void UseHelpText(CLI::App& app);

}  // namespace diptych::cli
