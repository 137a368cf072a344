#include "tests/testing/paths.h"

namespace diptych::testing {

// The folders are known to this source alone, so that all others compile to the same object in every clone.
std::string RepositoryPath(std::string_view path) {
  return std::string(DIPTYCH_SOURCE_DIR "/").append(path);
}

std::string BinaryPath(std::string_view name) {
  return std::string(DIPTYCH_BINARY_DIR "/").append(name);
}

}  // namespace diptych::testing
