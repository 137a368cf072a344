// What was computed for one caller serves another only where both have one salt.
#include <gtest/gtest.h>

#include <string>

#include "common/status.h"
#include "tests/language_service/language_fixture.h"

namespace diptych::language {
namespace {

class CacheSaltTest : public testing::LanguageFixture {
 protected:
  // Tokens of the prompt that were found in the KV cache.
  int CachedTokens(v1::GenerateRequest request, const std::string& salt) {
    request.set_cache_salt(salt);
    const testing::GenerateOutcome outcome = Ask(request);
    EXPECT_TRUE(outcome.status.ok()) << outcome.status;
    return outcome.status.ok() ? outcome.answer().usage().cached_tokens() : -1;
  }
};

TEST_F(CacheSaltTest, PrefixesAreFoundByTheirOwnSaltOnly) {
  Start();
  const v1::GenerateRequest request = testing::TextRequest(
      "the cat the cat the cat the cat the cat the cat the cat the cat the cat the cat the cat the cat");
  EXPECT_EQ(CachedTokens(request, "alice"), 0);
  EXPECT_GT(CachedTokens(request, "alice"), 0);
  EXPECT_EQ(CachedTokens(request, "bob"), 0);
  EXPECT_EQ(CachedTokens(request, ""), 0);
}

TEST_F(CacheSaltTest, ImagesAreFoundByTheirOwnSaltOnly) {
  StartWithVision([](const v1::EncodeImageRequest& request, int) { return True(request); });
  const v1::GenerateRequest request = testing::RequestWithImage(testing::GoodPng(), "the cat");
  int pulls = 0;
  for (const char* salt : {"alice", "bob", ""}) {
    CachedTokens(request, salt);
    EXPECT_EQ(vision_->calls(), ++pulls) << salt;
    CachedTokens(request, salt);
    EXPECT_EQ(vision_->calls(), pulls) << salt << " again";
  }
}

TEST_F(CacheSaltTest, ASaltIsBounded) {
  Start();
  v1::GenerateRequest request = testing::TextRequest("the cat");
  request.set_cache_salt(std::string(65, 'x'));
  const absl::Status status = Ask(request).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FieldOf(status), "cache_salt");
}

}  // namespace
}  // namespace diptych::language
