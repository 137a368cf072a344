// Where tests find the repository's files and the binaries that were built with them.
#pragma once

#include <string>
#include <string_view>

namespace diptych::testing {

// "models/demo" -> its absolute path. Files are not required to exist.
std::string RepositoryPath(std::string_view path);

// "gateway" -> the path of that binary.
std::string BinaryPath(std::string_view name);

}  // namespace diptych::testing
