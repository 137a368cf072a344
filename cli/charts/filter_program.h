#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace diptych::cli {

// Runs a program found in PATH, without a shell, to its end: `input` is its standard input, and what it wrote to
// standard output is returned. NOT_FOUND if there is no such program, INTERNAL with the last line of its standard error
// if it fails. Standard input, output and error are memory, not files.
absl::StatusOr<std::string> RunFilter(const std::vector<std::string>& argv, std::string_view input);

}  // namespace diptych::cli
