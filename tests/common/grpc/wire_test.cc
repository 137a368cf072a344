#include "common/grpc/wire.h"

#include <gtest/gtest.h>

#include "common/requests/question_limits.h"
#include "common/status.h"
#include "diptych/v1/language.pb.h"
#include "inference/grpc_service.pb.h"

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

TEST(WireTest, BytesThatAreNoMessageAreMalformed) {
  grpc::Slice slice(std::string("\x0a\x7f garbage"));
  v1::GenerateRequest parsed;
  const absl::Status status = ParseMessage(grpc::ByteBuffer(&slice, 1), parsed);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), "MALFORMED_REQUEST");
}

TEST(WireTest, AnEmptyBufferIsAnEmptyMessage) {
  v1::GenerateRequest parsed;
  grpc::Slice empty;
  EXPECT_TRUE(ParseMessage(grpc::ByteBuffer(&empty, 1), parsed).ok());
}

// `count` fields of `bytes` each.
grpc::ByteBuffer Repeated(const std::string& bytes, int count) {
  std::string wire;
  for (int i = 0; i < count; ++i) wire += bytes;
  grpc::Slice slice(wire);
  return grpc::ByteBuffer(&slice, 1);
}

// A GenerateRequest whose question holds `bytes` `count` times.
grpc::ByteBuffer InQuestion(const std::string& bytes, int count) {
  std::string question;
  for (int i = 0; i < count; ++i) question += bytes;
  std::string wire("\x0a");
  for (size_t size = question.size();; size >>= 7) {
    wire += static_cast<char>(size < 128 ? size : (size & 127) | 128);
    if (size < 128) break;
  }
  grpc::Slice slice(wire + question);
  return grpc::ByteBuffer(&slice, 1);
}

// A message of many small parts.
inference::ModelInferRequest ManyInputs() {
  inference::ModelInferRequest request;
  for (int i = 0; i < 500; ++i) {
    auto& input = *request.add_inputs();
    input.mutable_contents();
    input.add_shape(1);
    (*request.mutable_parameters())[std::to_string(i)].set_bool_param(true);
    (void)(*input.mutable_parameters())[""];
    request.add_outputs();
    request.add_raw_input_contents();
  }
  return request;
}

TEST(WireTest, WhatIsCountedIsNoLessThanWhatIsTaken) {
  inference::ModelInferRequest contents_alone;
  for (int i = 0; i < 2000; ++i) contents_alone.add_inputs()->mutable_contents();
  for (const auto& request : {ManyInputs(), contents_alone}) {
    const grpc::ByteBuffer bytes = SerializeMessage(request);
    int64_t counted = static_cast<int64_t>(bytes.Length());
    inference::ModelInferRequest parsed;
    const absl::Status status = TakeRequest(bytes, parsed, [&counted](int64_t more) {
      counted += more;
      return absl::OkStatus();
    });
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_LE(parsed.SpaceUsedLong(), static_cast<size_t>(counted));
  }
}

class ManyFieldsTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ManyFieldsTest, AreRefusedBeforeTheyTakeMemory) {
  for (const auto& bytes : {Repeated(GetParam(), 1'000'000), InQuestion(GetParam(), 1'000'000)}) {
    v1::GenerateRequest parsed;
    const absl::Status status = ParseMessage(bytes, parsed);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("fields"), absl::string_view::npos) << status;
    EXPECT_LT(parsed.SpaceUsedLong(), 4096u);
  }
}

INSTANTIATE_TEST_SUITE_P(Fields, ManyFieldsTest,
                         ::testing::Values(std::string("\x0a\x00", 2),        // an empty message or image
                                           std::string("\x12\x00", 2),        // an empty turn
                                           std::string("\xf8\x07\x01", 3),    // a number nobody knows
                                           std::string("\xfa\x07\x00", 3)));  // bytes nobody knows

TEST(WireTest, FieldsOfAFullQuestionFit) {
  v1::GenerateRequest request;
  v1::Question& question = *request.mutable_question();
  for (int i = 0; i < kMaxTurns; ++i) {
    v1::Turn& turn = *question.add_turns();
    turn.set_role(i % 2 == 0 ? v1::ROLE_USER : v1::ROLE_ASSISTANT);
    turn.set_text("text");
    turn.set_images(i < kMaxImages ? 1 : 0);
  }
  for (int i = 0; i < kMaxImages; ++i) question.add_images()->set_data("image");
  v1::GenerationOptions& generation = *question.mutable_generation();
  for (int i = 0; i < kMaxStopStrings; ++i) generation.add_stop("stop");
  for (int i = 0; i < kMaxStopTokens; ++i) generation.add_stop_token_ids(i);
  for (int i = 0; i < kMaxLogitBiases; ++i) (*generation.mutable_logit_bias())[i + 1] = 1.5;
  v1::GenerateRequest parsed;
  const absl::Status status = ParseMessage(SerializeMessage(request), parsed);
  EXPECT_TRUE(status.ok()) << status;
}

std::string AsVarint(uint64_t value) {
  std::string bytes;
  for (; value > 127; value >>= 7) bytes += static_cast<char>((value & 127) | 128);
  return bytes + static_cast<char>(value);
}

// So many token ids in field `number`, of the longest form that an id has on the wire.
grpc::ByteBuffer TokenIds(int number, int count, bool packed) {
  const std::string id = AsVarint(static_cast<uint64_t>(int64_t{-1}));
  std::string wire;
  if (packed)
    wire = AsVarint(static_cast<uint64_t>(number) << 3 | 2) + AsVarint(id.size() * static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) wire += (packed ? "" : AsVarint(static_cast<uint64_t>(number) << 3)) + id;
  grpc::Slice slice(wire);
  return grpc::ByteBuffer(&slice, 1);
}

TEST(WireTest, AsManyTokenIdsAsAreAllowedFitAndMillionsDoNot) {
  for (const bool packed : {true, false}) {
    v1::DecodeTokensRequest parsed;
    const absl::Status fits = ParseMessage(TokenIds(1, kMaxPromptTokenIds, packed), parsed);
    EXPECT_TRUE(fits.ok()) << fits;
    EXPECT_EQ(parsed.token_ids_size(), kMaxPromptTokenIds);
    v1::DecodeTokensRequest refused;
    EXPECT_EQ(ParseMessage(TokenIds(1, 2'000'000, packed), refused).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_LT(refused.SpaceUsedLong(), 4096u);
  }
}

TEST(WireTest, PackedNumbersThatAreCutOffAreMalformed) {
  v1::DecodeTokensRequest parsed;
  EXPECT_FALSE(ParseMessage(Repeated(std::string("\x0a\x02\x01\x80", 4), 1), parsed).ok());
  EXPECT_FALSE(ParseMessage(Repeated(std::string("\x0a\x7f\x01", 3), 1), parsed).ok());
}

TEST(WireTest, GroupsAndDeepNestingAreNoMessage) {
  v1::GenerateRequest parsed;
  EXPECT_FALSE(ParseMessage(Repeated("\x0b", 100), parsed).ok());
  EXPECT_FALSE(ParseMessage(Repeated("\xfb\x07\xfc\x07", 2), parsed).ok());
}

TEST(WireTest, ATextRequestIsBounded) {
  v1::CountTokensRequest request;
  request.set_prompt(std::string(kMaxTextRequestBytes, ' '));
  v1::CountTokensRequest parsed;
  EXPECT_EQ(ParseTextRequest(SerializeMessage(request), parsed).code(), absl::StatusCode::kInvalidArgument);
  request.set_prompt("text");
  EXPECT_TRUE(ParseTextRequest(SerializeMessage(request), parsed).ok());
}

}  // namespace
}  // namespace diptych
