#include "gateway/http/conversation.h"

#include <gtest/gtest.h>

#include "common/status.h"
#include "gateway/http/json_members.h"

namespace diptych::gateway {
namespace {

using Speaker = Message::Speaker;

Message Says(Speaker speaker, std::string text, int images = 0) {
  Message message;
  message.speaker = speaker;
  message.text = std::move(text);
  message.field = "content";
  for (int i = 0; i < images; ++i) {
    message.images.emplace_back().set_data(std::string(1, static_cast<char>('a' + i)));
    message.image_fields.push_back(std::string("image ") + static_cast<char>('a' + i));
  }
  return message;
}

struct Outcome {
  absl::Status status;
  v1::Question question;
  FieldNames names;
};

Outcome Converse(std::vector<Message> messages, SystemPrompt system_prompt = SystemPrompt::kPrepend) {
  Outcome outcome;
  outcome.status = SetConversation(std::move(messages), system_prompt, outcome.question, outcome.names);
  return outcome;
}

std::vector<std::string> Texts(const v1::Question& question) {
  std::vector<std::string> texts;
  for (const v1::Turn& turn : question.turns()) texts.push_back(turn.text());
  return texts;
}

using Lines = std::vector<std::string>;

TEST(ConversationTest, JoinsTwoTurnsOfOneSpeaker) {
  const Outcome outcome =
      Converse({Says(Speaker::kUser, "a", 1), Says(Speaker::kUser, "b", 1), Says(Speaker::kAssistant, "c"),
                Says(Speaker::kAssistant, " "), Says(Speaker::kUser, "d")});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(Texts(outcome.question), (Lines{"a\nb", "c", "d"}));
  EXPECT_EQ(outcome.question.turns(0).images(), 2);
  EXPECT_EQ(outcome.question.images_size(), 2);
  EXPECT_EQ(outcome.names.images, (Lines{"image a", "image a"}));
}

TEST(ConversationTest, PutsWhatComesBeforeTheUserBeforeTheFirstQuestionWithWords) {
  const Outcome outcome =
      Converse({Says(Speaker::kSystem, "s"), Says(Speaker::kAssistant, "hello"), Says(Speaker::kUser, "", 1),
                Says(Speaker::kAssistant, "c"), Says(Speaker::kUser, "d"), Says(Speaker::kSystem, "late")});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(Texts(outcome.question), (Lines{"", "c", "s\nhello\nlate\nd"}));
}

TEST(ConversationTest, AsksForACaptionByImagesAlone) {
  for (const char* blank : {"", " ", "\n\t"}) {
    const Outcome outcome = Converse({Says(Speaker::kSystem, ""), Says(Speaker::kUser, blank, 1)});
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    EXPECT_EQ(outcome.question.turns_size(), 0);
    EXPECT_EQ(outcome.question.images_size(), 1);
  }
}

TEST(ConversationTest, RefusesSystemMessagesWhereTheServerIsToldTo) {
  const std::vector<Message> talk = {Says(Speaker::kSystem, "s"), Says(Speaker::kUser, "a")};
  const Outcome refused = Converse(talk, SystemPrompt::kRefuse);
  EXPECT_EQ(ReasonOf(refused.status), kUnsupportedParameter);
  EXPECT_EQ(FieldOf(refused.status), "content");
  EXPECT_TRUE(Converse({Says(Speaker::kSystem, " "), Says(Speaker::kUser, "a")}, SystemPrompt::kRefuse).status.ok());
}

TEST(ConversationTest, RefusesATalkWithoutTheUserOrWithoutTheirLastWord) {
  EXPECT_EQ(FieldOf(Converse({}).status), "messages");
  EXPECT_EQ(FieldOf(Converse({Says(Speaker::kSystem, "s")}).status), "messages");
  EXPECT_EQ(FieldOf(Converse({Says(Speaker::kUser, "a"), Says(Speaker::kAssistant, "b")}).status), "content");
}

}  // namespace
}  // namespace diptych::gateway
