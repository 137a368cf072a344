#include "blip2/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "tests/testing/tiny_checkpoint.h"

namespace diptych::blip2 {
namespace {

using ::diptych::testing::SafetensorsBytes;
using ::diptych::testing::WriteFile;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class SafetensorsTest : public ::testing::Test {
 protected:
  ~SafetensorsTest() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& bytes) {
    WriteFile(file_, bytes);
    return SafetensorsFile::Open(file_);
  }

  // Why a file of this header and data is refused; the message opens with the file's base name.
  std::string ErrorOf(const std::string& header, const std::string& data = "") {
    return ErrorOfBytes(SafetensorsBytes(header, data));
  }
  std::string ErrorOfBytes(const std::string& bytes) {
    const auto opened = Open(bytes);
    EXPECT_EQ(opened.status().code(), absl::StatusCode::kInvalidArgument);
    const std::string message(opened.status().message());
    EXPECT_THAT(message, AllOf(StartsWith("hostile.safetensors: "), Not(HasSubstr("\n"))));
    return message;
  }

  const std::filesystem::path folder_ = diptych::testing::MakeTemporaryFolder();
  const std::filesystem::path file_ = folder_ / "hostile.safetensors";
};

TEST_F(SafetensorsTest, ReadsEveryServedType) {
  const auto opened = Open(SafetensorsBytes({
      {"a", {.dtype = "F32", .shape = {2, 1}, .bytes = "01234567"}},
      {"b", {.dtype = "BF16", .shape = {3}, .bytes = "abcdef"}},
      {"c", {.dtype = "F16", .shape = {}, .bytes = "gh"}},
      {"d", {.dtype = "I64", .shape = {1}, .bytes = "ijklmnop"}},
      {"e", {.dtype = "F32", .shape = {0, 7}, .bytes = ""}},
  }));
  ASSERT_TRUE(opened.ok()) << opened.status();
  const auto& tensors = (*opened)->tensors();
  ASSERT_EQ(tensors.size(), 5);
  EXPECT_EQ(tensors.at("a").dtype, at::ScalarType::Float);
  EXPECT_EQ(tensors.at("a").shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(tensors.at("a").data, "01234567");
  EXPECT_EQ(tensors.at("b").dtype, at::ScalarType::BFloat16);
  EXPECT_EQ(tensors.at("b").data, "abcdef");
  EXPECT_EQ(tensors.at("c").dtype, at::ScalarType::Half);
  EXPECT_TRUE(tensors.at("c").shape.empty());
  EXPECT_EQ(tensors.at("d").dtype, at::ScalarType::Long);
  EXPECT_EQ(tensors.at("e").data, "");
}

TEST_F(SafetensorsTest, ReadsTensorsInAnyOrderOfTheHeader) {
  const auto opened = Open(SafetensorsBytes(
      R"({"z":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"a":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}})",
      "wxyz"));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->tensors().at("a").data, "yz");
}

TEST_F(SafetensorsTest, ReadsAFileWithoutTensors) {
  const auto opened = Open(SafetensorsBytes("{}", ""));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_TRUE((*opened)->tensors().empty());
}

TEST_F(SafetensorsTest, SaysThatAFileIsAbsent) {
  EXPECT_EQ(SafetensorsFile::Open(folder_ / "absent.safetensors").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(SafetensorsTest, RefusesWhatIsNotARegularFile) {
  const auto folder = SafetensorsFile::Open(folder_);
  EXPECT_THAT(std::string(folder.status().message()), HasSubstr("not a regular file"));
  ASSERT_EQ(mkfifo(file_.c_str(), 0600), 0);
  const auto pipe = SafetensorsFile::Open(file_);
  EXPECT_THAT(std::string(pipe.status().message()), HasSubstr("not a regular file"));
}

TEST_F(SafetensorsTest, RefusesFilesTooShortForAHeader) {
  EXPECT_THAT(ErrorOfBytes(""), HasSubstr("empty"));
  EXPECT_THAT(ErrorOfBytes("1234567"), HasSubstr("too short"));
}

TEST_F(SafetensorsTest, RefusesAHeaderThatEndsAfterTheFile) {
  EXPECT_THAT(ErrorOfBytes(std::string("\x03\0\0\0\0\0\0\0{}", 10)), HasSubstr("ends after the file"));
}

TEST_F(SafetensorsTest, RefusesAHeaderOverSixteenMebibytes) {
  EXPECT_THAT(ErrorOfBytes(std::string("\x01\0\0\x01\0\0\0\0{}", 10)), HasSubstr("longer than 16777216"));
  EXPECT_THAT(ErrorOfBytes(std::string(8, '\xFF')), HasSubstr("longer than 16777216"));
}

TEST_F(SafetensorsTest, RefusesAHeaderThatIsNotAnObject) {
  EXPECT_THAT(ErrorOf("{"), HasSubstr("not JSON"));
  EXPECT_THAT(ErrorOf("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(ErrorOf("{\"\xFF\":1}"), HasSubstr("not JSON"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("not JSON"));
}

TEST_F(SafetensorsTest, RefusesADeeplyNestedHeader) {
  EXPECT_THAT(ErrorOf(std::string(1 << 20, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(ErrorOf(R"({"__metadata__":)" + std::string(100, '[') + std::string(100, ']') + "}"),
              HasSubstr("nested deeper"));
}

TEST_F(SafetensorsTest, RefusesANameThatStandsTwice) {
  EXPECT_THAT(ErrorOf(R"({"twice":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},)"
                      R"("twice":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})",
                      "ab"),
              AllOf(HasSubstr("twice"), HasSubstr("named twice")));
}

TEST_F(SafetensorsTest, AllowsOneNameInsideAnother) {
  EXPECT_TRUE(Open(SafetensorsBytes(R"({"shape":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})", "ab")).ok());
}

TEST_F(SafetensorsTest, RefusesUnknownTypes) {
  for (const char* dtype : {"F64", "F8_E4M3", "BOOL", "f32", ""}) {
    EXPECT_THAT(ErrorOf(std::string(R"({"odd":{"dtype":")") + dtype + R"(","shape":[1],"data_offsets":[0,1]}})", "a"),
                AllOf(HasSubstr("tensor odd: has dtype"), HasSubstr(dtype)));
  }
}

// A tensor named "bad" of two bytes, its other fields as given.
std::string Bad(const std::string& shape, const std::string& offsets) {
  return R"({"bad":{"dtype":"F16","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

TEST_F(SafetensorsTest, RefusesMalformedEntries) {
  EXPECT_THAT(ErrorOf(R"({"bad":7})"), HasSubstr("tensor bad: is not an object"));
  EXPECT_THAT(ErrorOf(R"({"bad":{"shape":[],"data_offsets":[0,2]}})", "ab"), HasSubstr("tensor bad: has no dtype"));
  EXPECT_THAT(ErrorOf(R"({"bad":{"dtype":"F16","data_offsets":[0,2]}})", "ab"), HasSubstr("tensor bad: has no shape"));
  EXPECT_THAT(ErrorOf(R"({"bad":{"dtype":"F16","shape":[1]}})", "ab"), HasSubstr("tensor bad: has no pair"));
  for (const char* shape :
       {"1", "[-1]", "[1.0]", "[\"1\"]", "[[1]]", "[1,1,1,1,1,1,1,1,1]", "[99999999999999999999]"}) {
    EXPECT_THAT(ErrorOf(Bad(shape, "[0,2]"), "ab"), HasSubstr("tensor bad: has no shape")) << shape;
  }
  for (const char* offsets : {"2", "[]", "[0]", "[0,2,2]", "[-1,1]", "[0,2.0]"}) {
    EXPECT_THAT(ErrorOf(Bad("[1]", offsets), "ab"), HasSubstr("tensor bad: has no pair")) << offsets;
  }
}

TEST_F(SafetensorsTest, RefusesOffsetsOutsideTheFile) {
  EXPECT_THAT(ErrorOf(Bad("[1]", "[1,3]"), "ab"), HasSubstr("tensor bad: lies outside the file"));
  EXPECT_THAT(ErrorOf(Bad("[1]", "[2,0]"), "ab"), HasSubstr("tensor bad: lies outside the file"));
  EXPECT_THAT(ErrorOf(Bad("[1]", "[18446744073709551614,18446744073709551615]"), "ab"),
              HasSubstr("tensor bad: lies outside"));
}

TEST_F(SafetensorsTest, RefusesAShapeThatDoesNotFitTheBytes) {
  EXPECT_THAT(ErrorOf(Bad("[2]", "[0,2]"), "ab"), HasSubstr("tensor bad: has 2 bytes, but its shape and dtype need 4"));
  EXPECT_THAT(ErrorOf(Bad("[0]", "[0,2]"), "ab"), HasSubstr("need 0"));
}

TEST_F(SafetensorsTest, RefusesAShapeWhoseSizeOverflows) {
  // Twice as many bytes as elements overflow; 2^65 bytes, which is 0 modulo 2^64; a dimension that is no int64.
  for (const char* shape : {"[9223372036854775807]", "[4294967296,4294967296]", "[0,18446744073709551615]"}) {
    EXPECT_THAT(ErrorOf(Bad(shape, "[0,0]")), HasSubstr("tensor bad: has a shape whose size overflows")) << shape;
  }
}

TEST_F(SafetensorsTest, RefusesHolesOverlapsAndLeftovers) {
  const auto two = [](const char* first, const char* second) {
    return std::string(R"({"one":{"dtype":"F16","shape":[1],"data_offsets":)") + first +
           R"(},"two":{"dtype":"F16","shape":[1],"data_offsets":)" + second + "}}";
  };
  EXPECT_TRUE(Open(SafetensorsBytes(two("[0,2]", "[2,4]"), "abcd")).ok());
  EXPECT_THAT(ErrorOf(two("[0,2]", "[3,5]"), "abcde"), HasSubstr("tensor two: leaves a hole before it"));
  EXPECT_THAT(ErrorOf(two("[2,4]", "[4,6]"), "abcdef"), HasSubstr("tensor one: leaves a hole before it"));
  EXPECT_THAT(ErrorOf(two("[0,2]", "[1,3]"), "abc"), HasSubstr("tensor two: overlaps"));
  EXPECT_THAT(ErrorOf(two("[0,2]", "[0,2]"), "ab"), HasSubstr("overlaps"));
  EXPECT_THAT(ErrorOf(two("[0,2]", "[2,4]"), "abcde"), HasSubstr("bytes after the last tensor"));
}

TEST_F(SafetensorsTest, TellsAPointerOfGitLfs) {
  EXPECT_THAT(ErrorOfBytes("version https://git-lfs.github.com/spec/v1\noid sha256:a1\nsize 5\n"),
              HasSubstr("a pointer of Git LFS, not the weights: get them with git lfs pull"));
}

TEST_F(SafetensorsTest, RefusesOverlongNamesAndShowsThemShortened) {
  const std::string name(600, 'n');
  EXPECT_THAT(ErrorOf("{\"" + name + R"(":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})", "ab"),
              AllOf(HasSubstr("name longer than 512"), Not(HasSubstr(std::string(201, 'n')))));
}

TEST_F(SafetensorsTest, EscapesNamesInMessages) {
  EXPECT_THAT(ErrorOf(R"({"a\n\u001b[2J":7})"), HasSubstr("tensor a\\n\\x1b[2J: is not an object"));
}

}  // namespace
}  // namespace diptych::blip2
