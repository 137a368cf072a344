#include "common/wire.h"

#include <gtest/gtest.h>

#include "common/status.h"
#include "diptych/v1/language.pb.h"

namespace diptych {
namespace {

v1::GenerateRequest Request() {
  v1::GenerateRequest request;
  request.mutable_question()->add_images()->set_data(std::string("\xff\xd8\xff", 3));
  request.mutable_question()->set_prompt("a caf\xc3\xa9");
  return request;
}

TEST(WireTest, ParsesWhatItSerialises) {
  v1::GenerateRequest parsed;
  ASSERT_TRUE(ParseMessage(SerializeMessage(Request()), parsed).ok());
  EXPECT_EQ(parsed.SerializeAsString(), Request().SerializeAsString());
}

TEST(WireTest, TextThatIsNotUtf8IsNamed) {
  v1::GenerateRequest request = Request();
  request.mutable_question()->mutable_generation()->add_stop("ok");
  request.mutable_question()->mutable_generation()->add_stop("\xc3(");
  v1::GenerateRequest parsed;
  const absl::Status status = ParseMessage(SerializeMessage(request), parsed);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), reason::kTextEncoding);
  EXPECT_EQ(FieldOf(status), "question.generation.stop");
}

TEST(WireTest, BytesThatAreNoMessageAreRefusedWithoutAReason) {
  grpc::Slice slice(std::string("\x0a\x7f garbage"));
  v1::GenerateRequest parsed;
  const absl::Status status = ParseMessage(grpc::ByteBuffer(&slice, 1), parsed);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), "");
}

TEST(WireTest, AnEmptyBufferIsAnEmptyMessage) {
  v1::GenerateRequest parsed;
  grpc::Slice empty;
  EXPECT_TRUE(ParseMessage(grpc::ByteBuffer(&empty, 1), parsed).ok());
}

}  // namespace
}  // namespace diptych
