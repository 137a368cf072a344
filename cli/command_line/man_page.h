#pragma once

#include <string>

namespace CLI {
class App;
}

namespace diptych::cli {

// diptych(1) with all commands, for `man -l`.
std::string ManPage(const CLI::App& root);

}  // namespace diptych::cli
