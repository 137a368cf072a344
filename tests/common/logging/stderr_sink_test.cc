#include "common/logging/stderr_sink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spdlog/logger.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <sstream>
#include <string>

namespace diptych {
namespace {

// A logger whose lines go to the writing end of a pair that is made by `make`.
class Written {
 public:
  template <typename Make>
  explicit Written(Make make) {
    EXPECT_EQ(make(ends_.data()), 0);
    logger_ = std::make_unique<spdlog::logger>("test", std::make_shared<StderrSink>(ends_[1]));
    logger_->set_pattern("%v");
  }
  ~Written() {
    for (const int end : ends_) close(end);
  }

  void Log(const std::string& line) { logger_->info(line); }

  // All that is there to be read.
  std::string Read() {
    fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    std::string text;
    char piece[4096];
    for (ssize_t size = 0; (size = read(ends_[0], piece, sizeof piece)) > 0;)
      text.append(piece, static_cast<size_t>(size));
    return text;
  }

  bool WriterBlocks() const { return (fcntl(ends_[1], F_GETFL) & O_NONBLOCK) == 0; }

 private:
  std::array<int, 2> ends_ = {-1, -1};
  std::unique_ptr<spdlog::logger> logger_;
};

int MakePipe(int* ends) {
  return pipe(ends);
}
int MakeSockets(int* ends) {
  return socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
}

class StderrSinkTest : public ::testing::TestWithParam<int (*)(int*)> {};

TEST_P(StderrSinkTest, WritesLines) {
  Written out(GetParam());
  out.Log("one");
  out.Log("two");
  EXPECT_EQ(out.Read(), "one\ntwo\n");
}

TEST_P(StderrSinkTest, NeverWaitsForAReaderAndSaysWhatWasLost) {
  constexpr int kLines = 20'000;
  Written out(GetParam());
  for (int i = 0; i < kLines; ++i) out.Log(std::string(99, 'x'));
  const std::string before = out.Read();
  EXPECT_LT(std::count(before.begin(), before.end(), '\n'), kLines);
  out.Log("read again");
  const std::string after = out.Read();
  EXPECT_NE(after.find(" lines of the log were lost"), after.npos) << after;
  EXPECT_TRUE(after.ends_with("\nread again\n")) << after;
  EXPECT_TRUE(out.WriterBlocks()) << "for others who write to it";
}

INSTANTIATE_TEST_SUITE_P(Kinds, StderrSinkTest, ::testing::Values(MakePipe, MakeSockets));

TEST(StderrSinkPipeTest, KeepsEachLineWholeOrDropsIt) {
  const std::string line(99, 'x');
  Written out(MakePipe);
  for (int i = 0; i < 3000; ++i) out.Log(line);
  std::istringstream kept(out.Read());
  int whole = 0;
  for (std::string read; std::getline(kept, read);) {
    whole += read == line ? 1 : 0;
    EXPECT_TRUE(read == line || read.ends_with(" lines of the log were lost: nobody read them")) << read;
  }
  EXPECT_GT(whole, 30);
}

}  // namespace
}  // namespace diptych
