// A root of a file system with what the kernel says of groups and memory.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace diptych::testing {

class SystemRoot : public ::testing::Test {
 protected:
  SystemRoot() {
    std::string folder = (std::filesystem::temp_directory_path() / "diptych-XXXXXX").string();
    root_ = mkdtemp(folder.data());
  }
  ~SystemRoot() override { std::filesystem::remove_all(root_); }

  void Write(const std::filesystem::path& file, const std::string& text) const {
    std::filesystem::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }

  std::filesystem::path root_;
};

}  // namespace diptych::testing
