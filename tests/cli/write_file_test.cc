#include "cli/charts/write_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <sstream>
#include <string>

#include "common/status.h"

namespace diptych::cli {
namespace {

using ::testing::HasSubstr;

std::string ContentOf(const std::filesystem::path& file) {
  std::ostringstream bytes;
  bytes << std::ifstream(file).rdbuf();
  return bytes.str();
}

TEST(WriteFileTest, ReplacesAFileWholeOrLeavesIt) {
  const std::filesystem::path folder = ::testing::TempDir() + "/diptych_write_file", file = folder / "chart.svg";
  std::filesystem::create_directories(folder);
  EXPECT_TRUE(WriteFile(file, "an earlier chart").ok());
  struct rlimit before {};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto on_limit = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit little{.rlim_cur = 4096, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &little);
  const absl::Status status = WriteFile(file, std::string(1 << 20, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, on_limit);
  EXPECT_EQ(ReasonOf(status), "OUTPUT_NOT_WRITABLE");
  EXPECT_THAT(std::string(status.message()), HasSubstr("chart.svg: File too large"));
  EXPECT_EQ(ContentOf(file), "an earlier chart");
  EXPECT_TRUE(WriteFile(file, "a chart").ok());
  EXPECT_EQ(ContentOf(file), "a chart");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1) << "nothing half-written stays";
  std::filesystem::remove_all(folder);
}

TEST(WriteFileTest, WritesIntoWhatIsNoFile) {
  const std::filesystem::path folder = ::testing::TempDir() + "/diptych_write_pipe", pipe = folder / "pipe";
  std::filesystem::create_directories(folder);
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  auto read = std::async(std::launch::async, ContentOf, pipe);
  EXPECT_TRUE(WriteFile(pipe, "a chart").ok());
  EXPECT_EQ(read.get(), "a chart");
  EXPECT_TRUE(std::filesystem::is_fifo(pipe)) << "it is not replaced";
  EXPECT_EQ(ReasonOf(WriteFile("/dev/full", "a chart")), "OUTPUT_NOT_WRITABLE");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace diptych::cli
