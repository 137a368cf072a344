#include "tests/testing/paths.h"

#include <cstdlib>

namespace diptych::testing {

// The folders are known to this source alone, so that all others compile to the same object in every clone. Tests that
// travel (scripts/gpu_bundle.sh) are told where they are, in a tree of the same shape.
std::string RepositoryPath(std::string_view path) {
  const char* root = std::getenv("DIPTYCH_TEST_ROOT");
  return std::string(root != nullptr ? root : DIPTYCH_SOURCE_DIR).append("/").append(path);
}

std::string BinaryPath(std::string_view name) {
  const char* root = std::getenv("DIPTYCH_TEST_ROOT");
  return (root != nullptr ? std::string(root) + "/build/release/bin" : DIPTYCH_BINARY_DIR).append("/").append(name);
}

}  // namespace diptych::testing
