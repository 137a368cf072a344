// A vision tier that breaks the protocol, however often it is asked, costs its own request and nothing else.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>

#include "common/hash.h"
#include "common/status.h"
#include "tests/language_service/language_fixture.h"

namespace diptych::language {
namespace {

using testing::GenerateOutcome;
using testing::ScriptedAnswer;

class RogueVisionTest : public testing::LanguageFixture {
 protected:
  RogueVisionTest() { options_.cache_bytes = 0; }  // each question asks the vision tier

  // The first question's calls are answered truly, the second's after `corrupt`, the third's truly again. Returns the
  // second's status.
  absl::Status StatusBetweenTrueAnswers(std::function<void(ScriptedAnswer&)> corrupt) {
    std::atomic<bool> rogue = false;
    StartWithVision([corrupt, &rogue](const v1::EncodeImageRequest& request, int) {
      ScriptedAnswer answer = True(request);
      if (rogue) corrupt(answer);
      return answer;
    });
    const GenerateOutcome before = AskImage();
    rogue = true;
    const GenerateOutcome corrupted = AskImage();
    rogue = false;
    const GenerateOutcome after = AskImage();
    EXPECT_TRUE(before.status.ok()) << before.status;
    EXPECT_TRUE(after.status.ok()) << after.status;
    EXPECT_EQ(after.joined_deltas(), before.joined_deltas());
    EXPECT_EQ(after.delta_tokens(), before.delta_tokens());
    return corrupted.status;
  }

  void ExpectBreach(std::function<void(ScriptedAnswer&)> corrupt) {
    const absl::Status status = StatusBetweenTrueAnswers(std::move(corrupt));
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    EXPECT_EQ(ReasonOf(status), reason::kTierProtocol);
  }
};

TEST_F(RogueVisionTest, WrongShape) {
  ExpectBreach([](ScriptedAnswer& a) { a.messages[0].mutable_header()->set_tokens(1 << 30); });
}

TEST_F(RogueVisionTest, WrongType) {
  ExpectBreach([](ScriptedAnswer& a) { a.messages[0].mutable_header()->set_dtype(v1::NUMBER_TYPE_FLOAT16); });
}

TEST_F(RogueVisionTest, WrongChecksum) {
  ExpectBreach([](ScriptedAnswer& a) { a.messages[1].mutable_chunk()->set_crc32c(0); });
}

TEST_F(RogueVisionTest, WrongOrder) {
  ExpectBreach([](ScriptedAnswer& a) { std::swap(a.messages[1], a.messages[2]); });
}

TEST_F(RogueVisionTest, TooFewChunks) {
  ExpectBreach([](ScriptedAnswer& a) { a.messages.erase(a.messages.begin() + 2); });
}

TEST_F(RogueVisionTest, NoEnd) {
  ExpectBreach([](ScriptedAnswer& a) { a.messages.pop_back(); });
}

TEST_F(RogueVisionTest, Nothing) {
  ExpectBreach([](ScriptedAnswer& a) { a.messages.clear(); });
}

TEST_F(RogueVisionTest, NotANumber) {
  ExpectBreach([](ScriptedAnswer& a) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    v1::VisualTokensChunk& chunk = *a.messages[1].mutable_chunk();
    std::memcpy(chunk.mutable_data()->data(), &nan, 4);
    chunk.set_crc32c(Crc32c(chunk.data()));
  });
}

TEST_F(RogueVisionTest, AMessageThatIsTooLarge) {
  ExpectBreach([](ScriptedAnswer& a) { a.messages[1].mutable_chunk()->set_data(std::string(4 << 20, 'x')); });
}

TEST_F(RogueVisionTest, AnErrorOfItsOwn) {
  ExpectBreach([](ScriptedAnswer& a) {
    a.messages.clear();
    a.status = grpc::Status(grpc::StatusCode::DATA_LOSS, "something of theirs");
  });
}

TEST_F(RogueVisionTest, AnotherModelsTokens) {
  const absl::Status status = StatusBetweenTrueAnswers(
      [](ScriptedAnswer& a) { a.messages[0].mutable_header()->set_model_fingerprint("beef"); });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), reason::kModelMismatch);
}

TEST_F(RogueVisionTest, AReplicaThatDiesMidImageCostsARetry) {
  StartWithVision([](const v1::EncodeImageRequest& request, int call) {
    ScriptedAnswer answer = True(request);
    if (call == 0) {
      answer.messages.resize(2);
      answer.status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
    }
    return answer;
  });
  EXPECT_TRUE(AskImage().status.ok());
  EXPECT_EQ(vision_->calls(), 2);
}

TEST_F(RogueVisionTest, RetriesAreBounded) {
  StartWithVision([](const v1::EncodeImageRequest&, int) {
    return ScriptedAnswer{.messages = {}, .status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone")};
  });
  const absl::Status status = AskImage().status;
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), reason::kTierUnavailable);
  EXPECT_EQ(vision_->calls(), 3);
}

TEST_F(RogueVisionTest, AFullTierIsNotAskedAgain) {
  StartWithVision([](const v1::EncodeImageRequest&, int) {
    return ScriptedAnswer{.messages = {},
                          .status = ToGrpcStatus(RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                                                            "full", absl::Seconds(2)))};
  });
  const absl::Status status = AskImage().status;
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), reason::kQueueFull);
  EXPECT_EQ(RetryAfterOf(status), absl::Seconds(2));
  EXPECT_EQ(vision_->calls(), 1);
}

TEST_F(RogueVisionTest, OneRefusedImageEndsThePullOfTheOthers) {
  StartWithVision([](const v1::EncodeImageRequest& request, int) {
    if (request.image() == testing::GoodPng()) return ScriptedAnswer{.messages = {}, .never_ends = true};
    return ScriptedAnswer{.messages = {},
                          .status = ToGrpcStatus(InvalidField(reason::kImageCorrupt, "image", "cut off"))};
  });
  v1::GenerateRequest request = testing::RequestWithImage(testing::GoodPng(), "");
  request.mutable_question()->add_images()->set_data(testing::CutOffJpeg());
  const absl::Status status = Ask(request).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), reason::kImageCorrupt);
  EXPECT_EQ(FieldOf(status), "question.images[1]");
  AwaitNobodyInside();
}

TEST_F(RogueVisionTest, AStreamThatNeverEndsEndsWithTheDeadline) {
  StartWithVision([](const v1::EncodeImageRequest& request, int call) {
    ScriptedAnswer answer = True(request);
    if (call > 0) return answer;
    answer.messages.resize(2);
    answer.never_ends = true;
    return answer;
  });
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
  const absl::Status status =
      testing::Generate(*stub_, testing::RequestWithImage(testing::GoodPng(), "the cat"), context).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(vision_->AwaitCancels(1));
  AwaitNobodyInside();
  EXPECT_TRUE(AskImage().status.ok());
}

TEST_F(RogueVisionTest, AStreamThatHasSaidAllAndDoesNotEndHoldsNobody) {
  StartWithVision([](const v1::EncodeImageRequest& request, int) {
    ScriptedAnswer answer = True(request);
    answer.never_ends = true;
    return answer;
  });
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(15));  // until which it was held
  const absl::Status status =
      testing::Generate(*stub_, testing::RequestWithImage(testing::GoodPng(), "the cat"), context).status;
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(vision_->AwaitCancels(1));
}

TEST_F(RogueVisionTest, ACallerThatLeavesCancelsThePull) {
  StartWithVision(
      [](const v1::EncodeImageRequest&, int) { return ScriptedAnswer{.messages = {}, .never_ends = true}; });
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, testing::RequestWithImage(testing::GoodPng(), "the cat"));
  v1::GenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_TRUE(message.has_started());
  ASSERT_TRUE(vision_->AwaitCalls(1));  // a cancel before it would end the pull before the tier hears of it
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(vision_->AwaitCancels(1));
  AwaitNobodyInside();
  EXPECT_TRUE(AskText().status.ok());
}

}  // namespace
}  // namespace diptych::language
