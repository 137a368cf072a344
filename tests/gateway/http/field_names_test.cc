#include "gateway/http/field_names.h"

#include <gtest/gtest.h>

#include "common/status.h"

namespace diptych::gateway {
namespace {

std::string Renamed(std::string_view field, const FieldNames& names) {
  return FieldOf(InCallersNames(InvalidField(reason::kOptionRange, field, "wrong"), names));
}

TEST(FieldNamesTest, GivesOptionsTheNamesThatTheCallerWrote) {
  FieldNames names;
  EXPECT_EQ(Renamed("question.generation.max_new_tokens", names), "max_tokens");
  EXPECT_EQ(Renamed("question.generation.min_new_tokens", names), "min_tokens");
  EXPECT_EQ(Renamed("question.generation.temperature", names), "temperature");
  EXPECT_EQ(Renamed("question.image_options.max_side", names), "image_options.max_side");
  names.options["max_new_tokens"] = "n_predict";
  names.options["repetition_penalty"] = "repeat_penalty";
  EXPECT_EQ(Renamed("question.generation.max_new_tokens", names), "n_predict");
  EXPECT_EQ(Renamed("question.generation.repetition_penalty", names), "repeat_penalty");
}

TEST(FieldNamesTest, GivesTextsAndImagesTheirPlaces) {
  FieldNames names;
  names.turns = {"messages[1].content"};
  names.images = {"messages[1].content[0].image_url"};
  EXPECT_EQ(Renamed("question.turns[0].text", names), "messages[1].content");
  EXPECT_EQ(Renamed("question.images[0]", names), "messages[1].content[0].image_url");
  for (const char* elsewhere : {"question.turns", "question.turns[7].role", "question.turns[x]", "question.images[1]",
                                "question.images", "question.prompt", "question", "question.prompt_token_ids"}) {
    EXPECT_EQ(Renamed(elsewhere, names), "messages") << elsewhere;
  }
}

TEST(FieldNamesTest, ReplacesWholeWordsOfTheMessage) {
  FieldNames names;
  names.content = "input";
  const absl::Status status = InCallersNames(
      InvalidField(reason::kOptionRange, "question.generation.max_new_tokens",
                   "max_new_tokens takes more than my_max_new_tokens; prompt_token_ids stand beside turns"),
      names);
  EXPECT_EQ(status.message(), "max_tokens takes more than my_max_new_tokens; input stand beside input");
}

TEST(FieldNamesTest, KeepsTheRestOfAStatus) {
  EXPECT_TRUE(InCallersNames(absl::OkStatus(), {}).ok());
  const absl::Status busy =
      RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full", absl::Seconds(2));
  const absl::Status renamed = InCallersNames(busy, {});
  EXPECT_EQ(ReasonOf(renamed), reason::kQueueFull);
  EXPECT_EQ(RetryAfterOf(renamed), absl::Seconds(2));
}

}  // namespace
}  // namespace diptych::gateway
