#include "gateway/tiers/request_affinity.h"

#include <gtest/gtest.h>

#include "common/requests/image_preparation.h"

namespace diptych::gateway {
namespace {

v1::GenerateRequest AboutImages(std::initializer_list<const char*> images) {
  v1::GenerateRequest request;
  for (const char* image : images) request.mutable_question()->add_images()->set_data(image);
  return request;
}

v1::GenerateRequest Conversation(std::initializer_list<const char*> turns) {
  v1::GenerateRequest request;
  for (const char* turn : turns) request.mutable_question()->add_turns()->set_text(turn);
  return request;
}

TEST(RequestAffinityTest, QuestionsAboutOneImageBelongTogether) {
  v1::GenerateRequest one = AboutImages({"image"}), other = AboutImages({"image"});
  one.mutable_question()->set_prompt("what is it?");
  other.mutable_question()->set_prompt("where is it?");
  other.mutable_question()->set_request_id("7");
  ASSERT_TRUE(AffinityOf(one));
  EXPECT_EQ(AffinityOf(one), AffinityOf(other));
  EXPECT_NE(AffinityOf(one), AffinityOf(AboutImages({"another"})));
}

TEST(RequestAffinityTest, AnImageThatIsPreparedOtherwiseIsAnotherOne) {
  v1::GenerateRequest small = AboutImages({"image"});
  small.mutable_question()->mutable_image_options()->set_max_side(100);
  EXPECT_NE(AffinityOf(small), AffinityOf(AboutImages({"image"})));
}

TEST(RequestAffinityTest, CallersWithoutCommonCachesShareNoKey) {
  v1::GenerateRequest salted = AboutImages({"image"});
  salted.set_cache_salt("salt");
  EXPECT_NE(AffinityOf(salted), AffinityOf(AboutImages({"image"})));
}

TEST(RequestAffinityTest, AConversationStaysWhereItsFirstImageOrTurnIs) {
  EXPECT_EQ(AffinityOf(AboutImages({"first", "second"})), AffinityOf(AboutImages({"first"})));
  ASSERT_TRUE(AffinityOf(Conversation({"hello", "hello!", "how are you?"})));
  EXPECT_EQ(AffinityOf(Conversation({"hello", "hello!", "how are you?"})),
            AffinityOf(Conversation({"hello", "hello!", "how are you?", "well", "why?"})));
  EXPECT_NE(AffinityOf(Conversation({"hello", "hello!", "and?"})), AffinityOf(Conversation({"hi", "hello!", "and?"})));
}

TEST(RequestAffinityTest, ATextWithoutAPastGoesAnywhere) {
  EXPECT_EQ(AffinityOf(Conversation({"hello"})), std::nullopt);
  v1::GenerateRequest prompt;
  prompt.mutable_question()->set_prompt("hello");
  EXPECT_EQ(AffinityOf(prompt), std::nullopt);
}

TEST(RequestAffinityTest, AnAnalysisGoesWhereQuestionsAboutItsImageGo) {
  v1::AnalyzeQueriesRequest queries;
  queries.mutable_image()->set_data("image");
  EXPECT_EQ(AffinityOf(queries), AffinityOf(AboutImages({"image"})));

  v1::ModelDescription model;
  model.set_fingerprint("model");
  model.set_patch_size(14);
  model.set_image_size(224);
  v1::AnalyzeVisionRequest vision;
  vision.set_image("image");
  EXPECT_EQ(AffinityOf(vision, model), AffinityKeyOf({ImageKey("image", {.image_size = 224}, "model")}))
      << "which is what the language tier pulls by";
  EXPECT_EQ(AffinityOf(vision, std::nullopt), std::nullopt);
  vision.mutable_options()->set_image_size(15);
  EXPECT_EQ(AffinityOf(vision, model), std::nullopt) << "the tier refuses it";
}

}  // namespace
}  // namespace diptych::gateway
