// The JSON files of a checkpoint from one input.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "tests/fuzz/checks.h"
#include "tests/testing/tiny_checkpoint.h"

namespace diptych::fuzz {

// A folder that goes at exit.
struct Folder {
  const std::filesystem::path path = testing::MakeTemporaryFolder();
  ~Folder() { std::filesystem::remove_all(path); }
};

// Takes a part of the input for each name and writes it as that file; a file whose part is empty or not there is
// absent.
inline void WriteParts(std::string_view& input, std::span<const char* const> names,
                       const std::filesystem::path& folder) {
  for (const char* name : names) {
    const std::string_view part = TakePart(input);
    if (part.empty()) {
      std::filesystem::remove(folder / name);
    } else {
      testing::WriteFile(folder / name, std::string(part));
    }
  }
}

}  // namespace diptych::fuzz
