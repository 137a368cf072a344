#include "cli/pull/partial_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "common/hash.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kRange = 3000;

std::string Sha256Of(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return ToHex(hash.Finish());
}

class PartialFileTest : public ::testing::Test {
 protected:
  PartialFileTest() { fs::create_directories(folder_); }
  ~PartialFileTest() override { fs::remove_all(folder_); }

  std::unique_ptr<PartialFile> Open() {
    auto file = PartialFile::Open(path_, etag_, static_cast<int64_t>(content_.size()), kRange);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  // The next `count` bytes of a range.
  void Append(PartialFile& file, int range, size_t count) {
    const auto begin = static_cast<size_t>(file.Next(range));
    ASSERT_TRUE(file.Append(range, std::string_view(content_).substr(begin, count)).ok());
  }
  void AppendRest(PartialFile& file) {
    for (int range = 0; range < file.ranges(); ++range) {
      Append(file, range, static_cast<size_t>(file.End(range) - file.Next(range)));
    }
  }
  static void Check(PartialFile& file) {
    while (file.CheckSome(1 << 20).value()) {
    }
  }
  std::string Bytes(const fs::path& path) const {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  const fs::path folder_ = fs::temp_directory_path() / ("diptych_partial_file_test_" + std::to_string(getpid()));
  const fs::path path_ = folder_ / "x.partial", whole_ = folder_ / "x";
  std::string content_ = std::string(kRange, 'a') + std::string(kRange, 'b') + std::string(1000, 'c');
  std::string etag_ = Sha256Of(content_);
};

TEST_F(PartialFileTest, GoesOnWhereItWasLeft) {
  auto file = Open();
  ASSERT_EQ(file->ranges(), 3);
  Append(*file, 0, 10);
  Append(*file, 2, 999);
  file = Open();
  EXPECT_EQ(file->Next(0), 10);
  EXPECT_EQ(file->Next(1), kRange);
  EXPECT_EQ(file->Next(2), 2 * kRange + 999);
  EXPECT_EQ(file->Done(), 1009);
  AppendRest(*file);
  EXPECT_TRUE(file->IsWhole());
  EXPECT_FALSE(file->IsChecked());
  Check(*file);
  EXPECT_TRUE(file->IsChecked());
  ASSERT_TRUE(file->Finish(whole_).ok());
  EXPECT_TRUE(Bytes(whole_) == content_);
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(PartialFileTest, ChecksBehindTheBytesThatAreThereWithoutAGap) {
  const auto file = Open();
  Append(*file, 1, 100);
  EXPECT_FALSE(file->CheckSome(1 << 20).value());
  Append(*file, 0, 100);
  EXPECT_TRUE(file->CheckSome(1 << 20).value());
  EXPECT_FALSE(file->CheckSome(1 << 20).value());
}

TEST_F(PartialFileTest, KeepsNothingOfWrongBytes) {
  content_[kRange + 7] = 'x';
  const auto file = Open();
  AppendRest(*file);
  Check(*file);
  EXPECT_TRUE(absl::IsDataLoss(file->Finish(whole_)));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(PartialFileTest, RefusesBytesBeyondTheRange) {
  const auto file = Open();
  EXPECT_TRUE(absl::IsOutOfRange(file->Append(2, std::string(1001, 'c'))));
  EXPECT_EQ(file->Done(), 0);
}

TEST_F(PartialFileTest, BeginsAnewOverWhatIsNoPartialFile) {
  for (const std::string& found : {std::string("garbage"), std::string(content_.size() + 24, '\xff'), content_}) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << found;
    EXPECT_EQ(Open()->Done(), 0);
    fs::remove(path_);
  }
}

TEST_F(PartialFileTest, FollowsNoLink) {
  std::ofstream(folder_ / "precious") << "precious";
  fs::create_symlink(folder_ / "precious", path_);
  EXPECT_FALSE(PartialFile::Open(path_, etag_, 5).ok());
  EXPECT_EQ(Bytes(folder_ / "precious"), "precious");
}

TEST_F(PartialFileTest, CanBeOneRangeForAServerWithoutRanges) {
  const auto file = Open();
  Append(*file, 0, 10);
  ASSERT_TRUE(file->RestartAsOneRange().ok());
  EXPECT_EQ(file->ranges(), 1);
  EXPECT_EQ(file->Done(), 0);
  AppendRest(*file);
  Check(*file);
  ASSERT_TRUE(file->Finish(whole_).ok());
  EXPECT_TRUE(Bytes(whole_) == content_);
}

TEST_F(PartialFileTest, AnEmptyFileIsWholeAtOnce) {
  content_.clear();
  etag_ = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";  // git's SHA-1 of nothing
  const auto file = Open();
  EXPECT_TRUE(file->IsChecked());
  ASSERT_TRUE(file->Finish(whole_).ok());
  EXPECT_EQ(fs::file_size(whole_), 0u);
}

TEST(ContentCheckTest, KnowsWhatTheHubsETagsStandFor) {
  const auto matches = [](const std::string& etag, const std::string& bytes) {
    ContentCheck check(etag, static_cast<int64_t>(bytes.size()));
    check.Update(bytes);
    return check.Matches();
  };
  EXPECT_TRUE(matches(Sha256Of("abc"), "abc"));
  EXPECT_FALSE(matches(Sha256Of("abc"), "abd"));
  EXPECT_TRUE(matches("f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", "abc")) << "git hash-object";
  EXPECT_TRUE(matches("a9993e364706816aba3e25717850c26c9cd0d89d", "abc")) << "sha1sum";
  EXPECT_FALSE(matches("f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", "abd"));
  EXPECT_FALSE(ContentCheck::Names("abc"));
}

}  // namespace
}  // namespace diptych::cli
