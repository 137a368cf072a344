#include "common/files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace diptych {
namespace {

class ReadFileTest : public ::testing::Test {
 protected:
  void SetUp() override { std::ofstream(file_, std::ios::binary) << std::string("a\0b", 3); }
  void TearDown() override { std::filesystem::remove(file_); }

  const std::string file_ = ::testing::TempDir() + "/diptych_read_file_test";
};

TEST_F(ReadFileTest, GivesTheBytes) {
  const auto bytes = ReadFile(file_, 3);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, std::string("a\0b", 3));
}

TEST_F(ReadFileTest, RefusesWhatIsLargerThanTheBound) {
  EXPECT_EQ(ReadFile(file_, 2).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(ReadFileTest, SaysThatThereIsNone) {
  EXPECT_EQ(ReadFile(file_ + ".none", 3).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadFile(::testing::TempDir(), 3).status().code(), absl::StatusCode::kNotFound) << "a folder is no file";
}

}  // namespace
}  // namespace diptych
