#include "gateway/admission/api_keys.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gateway/admission/api_key_file.h"

namespace diptych::gateway {
namespace {

// printf %s first-key | openssl dgst -sha256 -r
constexpr char kFirst[] = "9e24b55356ef2a121ab5fd1a3ee8a3c9191e837f3853e399a369e9044ff183f7";

std::string HashOf(std::string_view key) {
  Sha256 hash;
  hash.Update(key);
  return ToHex(hash.Finish());
}

std::string FileOf(const std::string& name, const std::string& key, const std::string& limits = "") {
  return "{\"keys\": {\"" + name + "\": {\"sha256\": \"" + HashOf(key) + "\"" + limits + "}}}";
}

TEST(ApiKeysTest, FindsTheKeyByItsHash) {
  const auto keys = ApiKeys::Parse(R"({"keys": {"a": {"sha256": ")" + HashOf("one") + R"("}, "b": {"sha256": ")" +
                                   HashOf("two") + R"("}}})");
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(keys->size(), 2);
  EXPECT_EQ(keys->Find("one")->name, "a");
  EXPECT_EQ(keys->Find("two")->name, "b");
  for (const std::string wrong : {"", "One", "one ", "three", kFirst}) EXPECT_EQ(keys->Find(wrong), nullptr) << wrong;
  EXPECT_EQ(keys->Find(std::string(kMaxApiKeyBytes + 1, 'x')), nullptr);
}

TEST(ApiKeysTest, TheHashIsWhatOpensslPrints) {
  const auto keys = ApiKeys::Parse(std::string(R"({"keys": {"a": {"sha256": ")") + kFirst + R"("}}})");
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_NE(keys->Find("first-key"), nullptr);
}

TEST(ApiKeysTest, WithASaltTheHashesAreOfBoth) {
  const auto keys = ApiKeys::Parse(R"({"salt": "0123abCD", "keys": {"a": {"sha256": ")" + HashOf("0123abCDone") +
                                   R"("}, "b": {"sha256": ")" + HashOf("two") + R"("}}})");
  ASSERT_TRUE(keys.ok()) << keys.status();
  ASSERT_NE(keys->Find("one"), nullptr);
  EXPECT_EQ(keys->Find("one")->name, "a");
  for (const std::string wrong : {"two", "0123abCDone", "0123abCD"}) EXPECT_EQ(keys->Find(wrong), nullptr) << wrong;
}

TEST(ApiKeysTest, ALimitOfItsOwnGoesBeforeTheDefault) {
  const auto keys =
      ApiKeys::Parse(R"({"defaults": {"max_inflight": 8, "tokens_per_minute": 600}, "keys": {"a": {"sha256": ")" +
                     HashOf("one") + R"(", "max_inflight": 2}, "b": {"sha256": ")" + HashOf("two") + R"("}}})");
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(keys->Find("one")->limits.max_inflight, 2);
  EXPECT_EQ(keys->Find("one")->limits.tokens_per_minute, 600);
  EXPECT_EQ(keys->Find("two")->limits.max_inflight, 8);
}

TEST(ApiKeysTest, AFaultyFileIsRefusedWithoutQuotingIt) {
  const std::string hash = HashOf("one");
  const std::string kFaulty[] = {
      "",
      "[]",
      "{}",
      R"({"keys": {}})",
      R"({"keys": []})",
      R"({"keys": {"secret-word": {"sha256": "secret-word"}}})",
      R"({"keys": {"secret-word": {}}})",
      R"({"keys": {"secret-word": "secret-word"}})",
      R"({"keys": {"secret-word": {"key": "secret-word"}}})",
      R"({"keys": {"secret-word\n": {"sha256": ")" + hash + R"("}}})",
      R"({"keys": {"a": {"sha256": ")" + hash + R"("}, "b": {"sha256": ")" + hash + R"("}}})",
      R"({"keys": {"a": {"sha256": ")" + hash + R"("}}, "secret-word": 1})",
      R"({"keys": {"a": {"sha256": ")" + hash + R"("}, "a": {"sha256": ")" + hash + R"("}}})",
      R"({"salt": "secret!", "keys": {"a": {"sha256": ")" + hash + R"("}}})",
      R"({"salt": "secret-word", "keys": {"a": {"sha256": ")" + hash + R"("}}})",
      R"({"salt": 1, "keys": {"a": {"sha256": ")" + hash + R"("}}})",
      R"({"salt": ")" + std::string(65, 'a') + R"(", "keys": {"a": {"sha256": ")" + hash + R"("}}})",
      R"({"defaults": {"secret-word": 1}, "keys": {"a": {"sha256": ")" + hash + R"("}}})",
      FileOf("a", "one", R"(, "max_inflight": 0)"),
      FileOf("a", "one", R"(, "max_inflight": 2.5)"),
      FileOf("a", "one", R"(, "tokens_per_minute": -1)"),
      FileOf("a", "one", R"(, "tokens_per_minute": 1e30)"),
      FileOf("a", "one", R"(, "tokens_per_minute": "secret-word")"),
      FileOf("a", "one").substr(0, 40),
  };
  for (const std::string& text : kFaulty) {
    const auto keys = ApiKeys::Parse(text);
    EXPECT_EQ(keys.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(std::string(keys.status().message()).find("secret-word"), std::string::npos) << keys.status();
  }
}

TEST(ApiKeysTest, BearerIsTheOnlyScheme) {
  EXPECT_EQ(BearerOf("Bearer one"), "one");
  EXPECT_EQ(BearerOf("bearer  one"), "one");
  for (const char* other : {"", "one", "Bearer", "Bearer ", "Basic one", "Bearerone"}) EXPECT_EQ(BearerOf(other), "");
}

class ApiKeyFileTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) { std::ofstream(file_, std::ios::trunc) << text; }
  void TearDown() override { std::filesystem::remove(file_); }

  const std::string file_ = ::testing::TempDir() + "/api_keys_of_" + std::to_string(::getpid()) + ".json";
};

TEST_F(ApiKeyFileTest, FollowsTheFileAndKeepsTheLastGoodKeys) {
  Write(FileOf("a", "one"));
  auto file = ApiKeyFile::Open(file_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_NE((*file)->keys()->Find("one"), nullptr);
  Write(FileOf("a", "two, another one"));
  (*file)->Refresh();
  EXPECT_EQ((*file)->keys()->Find("one"), nullptr) << "a key that was taken out";
  EXPECT_NE((*file)->keys()->Find("two, another one"), nullptr);
  Write("{");
  (*file)->Refresh();
  EXPECT_NE((*file)->keys()->Find("two, another one"), nullptr) << "a broken file changes nothing";
  std::filesystem::remove(file_);
  (*file)->Refresh();
  EXPECT_NE((*file)->keys()->Find("two, another one"), nullptr) << "nor does a lost one";
  Write(FileOf("a", "three"));
  (*file)->Refresh();
  EXPECT_NE((*file)->keys()->Find("three"), nullptr);
}

TEST_F(ApiKeyFileTest, AFileThatCouldNotBeReadIsReadLater) {
  Write(FileOf("a", "one"));
  auto file = ApiKeyFile::Open(file_);
  ASSERT_TRUE(file.ok()) << file.status();
  Write(FileOf("a", "two, another one"));
  rlimit before = {};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  (*file)->Refresh();
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_NE((*file)->keys()->Find("one"), nullptr);
  (*file)->Refresh();
  EXPECT_EQ((*file)->keys()->Find("one"), nullptr) << "a key that was taken out";
}

TEST_F(ApiKeyFileTest, AStartWithoutGoodKeysIsRefused) {
  EXPECT_EQ(ApiKeyFile::Open(file_).status().code(), absl::StatusCode::kInvalidArgument);
  Write("{");
  const absl::Status status = ApiKeyFile::Open(file_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()).rfind("--api_keys_file: ", 0), 0u) << status;
}

}  // namespace
}  // namespace diptych::gateway
