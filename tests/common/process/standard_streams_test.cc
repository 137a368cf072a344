#include "common/process/standard_streams.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace diptych {
namespace {

bool IsNull(int descriptor) {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(descriptor), error) == "/dev/null";
}

// In a child process with these descriptors closed: whether they alone become /dev/null, and the next file gets
// another number.
bool OpensThemAlone(const std::vector<int>& closed) {
  const pid_t child = fork();
  if (child == 0) {
    const int all[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    int ends[2];
    bool right = pipe(ends) == 0;
    for (const int descriptor : all) right = right && dup2(ends[0], descriptor) == descriptor;
    for (const int descriptor : closed) close(descriptor);
    OpenStandardStreams();
    for (const int descriptor : all) {
      const bool was_closed = std::find(closed.begin(), closed.end(), descriptor) != closed.end();
      right = right && IsNull(descriptor) == was_closed;
    }
    _exit(right && dup(ends[0]) > STDERR_FILENO ? 0 : 1);
  }
  int status = -1;
  return waitpid(child, &status, 0) == child && status == 0;
}

TEST(StandardStreamsTest, WhatIsClosedIsNoFileThatIsOpenedLater) {
  for (const std::vector<int>& closed : std::vector<std::vector<int>>{{}, {0}, {1}, {2}, {0, 1}, {0, 2}, {0, 1, 2}}) {
    EXPECT_TRUE(OpensThemAlone(closed)) << ::testing::PrintToString(closed);
  }
}

}  // namespace
}  // namespace diptych
