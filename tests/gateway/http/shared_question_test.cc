#include "gateway/http/shared_question.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>

#include "common/grpc/wire.h"

namespace diptych::gateway {
namespace {

v1::Question QuestionWithImages() {
  v1::Question question;
  question.add_images()->set_data(std::string(100'000, 'a'));
  question.add_images()->set_data("b");
  question.mutable_generation()->set_seed(7);
  question.set_prompt("What?");
  return question;
}

template <typename Request>
Request Parsed(const grpc::ByteBuffer& bytes) {
  Request request;
  EXPECT_TRUE(ParseMessage(bytes, request).ok());
  return request;
}

TEST(SharedQuestionTest, EachRequestIsTheWholeQuestion) {
  v1::Question question = QuestionWithImages();
  const SharedQuestion shared(question);
  EXPECT_EQ(question.images_size(), 0);
  for (const uint64_t seed : {7, 8}) {
    question.mutable_generation()->set_seed(seed);
    v1::Question whole = QuestionWithImages();
    whole.mutable_generation()->set_seed(seed);
    using google::protobuf::util::MessageDifferencer;
    const grpc::ByteBuffer bytes = shared.RequestOf(question);
    EXPECT_TRUE(MessageDifferencer::Equals(Parsed<v1::AskRequest>(bytes).question(), whole));
    EXPECT_TRUE(MessageDifferencer::Equals(Parsed<v1::AskStreamRequest>(bytes).question(), whole));
  }
}

TEST(SharedQuestionTest, ImagesAreInMemoryOnce) {
  v1::Question question = QuestionWithImages();
  const SharedQuestion shared(question);
  const auto image_at = [&] {
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(shared.RequestOf(question).Dump(&slices).ok());
    return slices.back().begin();
  };
  EXPECT_EQ(image_at(), image_at());
}

TEST(SharedQuestionTest, WithoutImagesItIsTheQuestion) {
  v1::Question question;
  question.set_prompt("What?");
  const SharedQuestion shared(question);
  EXPECT_EQ(Parsed<v1::AskRequest>(shared.RequestOf(question)).question().prompt(), "What?");
}

}  // namespace
}  // namespace diptych::gateway
