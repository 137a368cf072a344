#include "common/files.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

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

class UnfinishedTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  auto Entries() const { return std::distance(std::filesystem::directory_iterator(folder_), {}); }

  const std::filesystem::path folder_ = ::testing::TempDir() + "/diptych_unfinished_test", file_ = folder_ / "file";
};

TEST_F(UnfinishedTest, AppearsWhenItIsFinished) {
  ASSERT_TRUE(WriteBytes(file_, "before"));
  {
    Unfinished file(file_);
    ASSERT_TRUE(WriteBytes(file.path(), "after"));
    EXPECT_EQ(*ReadFile(file_, 100), "before");
    EXPECT_TRUE(file.Finish());
  }
  EXPECT_EQ(*ReadFile(file_, 100), "after");
  EXPECT_EQ(Entries(), 1);
}

TEST_F(UnfinishedTest, IsRemovedWithAllThatIsInItUnlessItIsFinished) {
  {
    Unfinished folder(folder_ / "wanted");
    std::filesystem::create_directory(folder.path());
    ASSERT_TRUE(WriteBytes(folder.path() / "file", "a"));
  }
  EXPECT_EQ(Entries(), 0);
}

TEST_F(UnfinishedTest, SaysWhyItCannotBeFinished) {
  std::filesystem::create_directories(file_ / "inner");
  const auto finish = [this] {
    Unfinished file(file_);
    return WriteBytes(file.path(), "a") && file.Finish();
  };
  errno = 0;
  EXPECT_FALSE(finish());
  EXPECT_EQ(errno, EISDIR) << "what the destructor does changes nothing";
  EXPECT_EQ(Entries(), 1);
}

TEST_F(UnfinishedTest, TakesThePlaceOfWhatAKilledProcessLeft) {
  const std::filesystem::path left = Unfinished(file_).path();
  ASSERT_TRUE(WriteBytes(left, "a half"));
  Unfinished link(file_);
  EXPECT_FALSE(std::filesystem::exists(left));
}

TEST_F(UnfinishedTest, WhatKilledProcessesLeftIsRemovedOfThisFileAlone) {
  const pid_t ended = fork();
  if (ended == 0) _exit(0);
  waitpid(ended, nullptr, 0);
  const std::string of_ended = ".unfinished-" + std::to_string(ended);
  std::filesystem::create_directories(folder_ / ("file" + of_ended) / "inner");
  const std::string kept[] = {"file.unfinished-" + std::to_string(getppid()),
                              "other" + of_ended,
                              "file.unfinished-x",
                              "file.unfinished-",
                              "file.unfinished--1",
                              "file"};
  for (const std::string& name : kept) ASSERT_TRUE(WriteBytes(folder_ / name, "a"));
  RemoveAbandoned(file_);
  EXPECT_EQ(Entries(), std::ssize(kept));
  EXPECT_FALSE(std::filesystem::exists(folder_ / ("file" + of_ended)));
  RemoveAbandoned(folder_ / "none" / "file");
}

}  // namespace
}  // namespace diptych
