#include "language_service/images/visual_tokens_receiver.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "common/hash.h"
#include "common/status.h"
#include "tests/testing/scripted_vision_tier.h"

namespace diptych::language {
namespace {

constexpr int kTokens = 5;
constexpr int kWidth = 8;
constexpr int kImageSize = 28;

v1::EncodeImageRequest Request() {
  v1::EncodeImageRequest request;
  request.set_image("an image");
  request.set_model_fingerprint("f00d");
  return request;
}

std::vector<v1::EncodeImageResponse> TrueMessages() {
  return testing::TrueAnswer(Request(), kTokens, kWidth, kImageSize).messages;
}

using Messages = std::vector<v1::EncodeImageResponse>;

absl::StatusOr<VisualTokens> Receive(const Messages& messages, v1::NumberType asked = v1::NUMBER_TYPE_UNSPECIFIED,
                                     TokenFault* fault = nullptr) {
  VisualTokensReceiver receiver({.model_fingerprint = "f00d",
                                 .image_key = TrueMessages()[0].header().image_key(),
                                 .tokens = kTokens,
                                 .width = kWidth,
                                 .image_size = kImageSize},
                                asked);
  absl::Status status;
  for (const auto& message : messages) {
    if (status.ok()) status = receiver.Accept(message);
  }
  absl::StatusOr<VisualTokens> tokens = status.ok() ? receiver.Finish() : absl::StatusOr<VisualTokens>(status);
  if (fault != nullptr) *fault = receiver.fault();
  return tokens;
}

// Changes true messages and expects them to be refused as a breach of the protocol.
template <typename Change>
void ExpectRefused(Change change) {
  std::vector<v1::EncodeImageResponse> messages = TrueMessages();
  change(messages);
  const auto tokens = Receive(messages);
  EXPECT_EQ(tokens.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ReasonOf(tokens.status()), reason::kTierProtocol);
}

// The bytes 1 in columns of this scale, [kTokens, kWidth].
Messages Int8Messages(float scale = 0.5f) {
  std::string data;
  for (int column = 0; column < kWidth; ++column) data.append(reinterpret_cast<const char*>(&scale), sizeof scale);
  data.append(kTokens * kWidth, '\1');
  Messages messages = TrueMessages();
  messages.erase(messages.begin() + 2);
  messages[0].mutable_header()->set_dtype(v1::NUMBER_TYPE_INT8);
  messages[0].mutable_header()->set_chunk_count(1);
  messages[1].mutable_chunk()->set_data(data);
  messages[1].mutable_chunk()->set_crc32c(Crc32c(data));
  messages[2].mutable_trailer()->set_total_bytes(static_cast<int64_t>(data.size()));
  return messages;
}

void ExpectInt8Refused(const Messages& messages, TokenFault expected) {
  TokenFault fault = TokenFault::kNone;
  EXPECT_EQ(ReasonOf(Receive(messages, v1::NUMBER_TYPE_INT8, &fault).status()), reason::kTierProtocol);
  EXPECT_EQ(fault, expected);
}

TEST(VisualTokensReceiverTest, PutsTrueMessagesTogether) {
  const Messages messages = TrueMessages();
  const auto tokens = Receive(messages);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->bytes, messages[1].chunk().data() + messages[2].chunk().data());
  EXPECT_EQ(tokens->tokens, kTokens);
  EXPECT_EQ(tokens->width, kWidth);
  EXPECT_EQ(tokens->dtype, v1::NUMBER_TYPE_FLOAT32);
}

TEST(VisualTokensReceiverTest, AnotherModelIsAMismatch) {
  Messages messages = TrueMessages();
  messages[0].mutable_header()->set_model_fingerprint("beef");
  const auto tokens = Receive(messages);
  EXPECT_EQ(tokens.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(tokens.status()), reason::kModelMismatch);
}

TEST(VisualTokensReceiverTest, RefusesAHeaderForAnythingElse) {
  ExpectRefused([](Messages& m) { m[0].mutable_header()->set_cut(static_cast<v1::Cut>(9)); });
  ExpectRefused([](Messages& m) { m[0].mutable_header()->set_dtype(v1::NUMBER_TYPE_UNSPECIFIED); });
  ExpectRefused([](Messages& m) { m[0].mutable_header()->set_dtype(static_cast<v1::NumberType>(77)); });
  ExpectRefused([](Messages& m) { m[0].mutable_header()->set_tokens(kTokens + 1); });
  ExpectRefused([](Messages& m) { m[0].mutable_header()->set_tokens(std::numeric_limits<int>::max()); });
  ExpectRefused([](Messages& m) { m[0].mutable_header()->set_width(-kWidth); });
  ExpectRefused([](Messages& m) { m[0].mutable_header()->set_image_key("another"); });
  ExpectRefused([](Messages& m) { m[0].mutable_header()->set_pixel_width(kImageSize * 2); });
  ExpectRefused([](Messages& m) { m[0].mutable_header()->set_chunk_count(1); });
  ExpectRefused([](Messages& m) { m[0].mutable_header()->set_chunk_count(-1); });
}

TEST(VisualTokensReceiverTest, RefusesNumbersOfAnotherSizeThanTheHeaderSays) {
  ExpectRefused([](Messages& m) { m[0].mutable_header()->set_dtype(v1::NUMBER_TYPE_BFLOAT16); });
}

TEST(VisualTokensReceiverTest, RefusesChunksThatAreWrong) {
  ExpectRefused([](Messages& m) { m[1].mutable_chunk()->set_crc32c(m[1].chunk().crc32c() ^ 1); });
  ExpectRefused([](Messages& m) { m[1].mutable_chunk()->mutable_data()->front() ^= 1; });
  ExpectRefused([](Messages& m) { std::swap(m[1], m[2]); });
  ExpectRefused([](Messages& m) { m[2] = m[1]; });
  ExpectRefused([](Messages& m) { m[1].mutable_chunk()->clear_data(); });
  ExpectRefused([](Messages& m) { m.insert(m.begin() + 3, m[2]); });
  ExpectRefused([](Messages& m) {
    m[2].mutable_chunk()->mutable_data()->append("x");
    m[2].mutable_chunk()->set_crc32c(Crc32c(m[2].chunk().data()));
  });
  ExpectRefused([](Messages& m) {
    m[1].mutable_chunk()->set_data(std::string((256 << 10) + 1, 'x'));
    m[1].mutable_chunk()->set_crc32c(Crc32c(m[1].chunk().data()));
  });
}

TEST(VisualTokensReceiverTest, RefusesAStreamWhosePartsAreMissingOrTooMany) {
  ExpectRefused([](Messages& m) { m.clear(); });
  ExpectRefused([](Messages& m) { m.erase(m.begin()); });
  ExpectRefused([](Messages& m) { m.erase(m.begin() + 2); });
  ExpectRefused([](Messages& m) { m.pop_back(); });
  ExpectRefused([](Messages& m) { m.insert(m.begin(), m[0]); });
  ExpectRefused([](Messages& m) { m.push_back(m.back()); });
  ExpectRefused([](Messages& m) { m.push_back(m[1]); });
  ExpectRefused([](Messages& m) { m.insert(m.begin() + 1, v1::EncodeImageResponse()); });
  ExpectRefused([](Messages& m) { m.back().mutable_trailer()->set_total_bytes(1); });
}

TEST(VisualTokensReceiverTest, RefusesNumbersThatAreNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    ExpectRefused([bad](Messages& m) {
      std::string& data = *m[2].mutable_chunk()->mutable_data();
      std::memcpy(data.data() + data.size() - 4, &bad, 4);
      m[2].mutable_chunk()->set_crc32c(Crc32c(data));
    });
  }
}

TEST(VisualTokensReceiverTest, TakesBytesAndTheirScalesWhereTheyWereAskedFor) {
  const Messages messages = Int8Messages();
  const auto tokens = Receive(messages, v1::NUMBER_TYPE_INT8);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->dtype, v1::NUMBER_TYPE_INT8);
  EXPECT_EQ(tokens->bytes, messages[1].chunk().data());
  EXPECT_TRUE(Receive(Int8Messages(0), v1::NUMBER_TYPE_INT8).ok()) << "a column of zeros";
  EXPECT_TRUE(Receive(TrueMessages(), v1::NUMBER_TYPE_INT8).ok()) << "a vision tier of an earlier version";
}

TEST(VisualTokensReceiverTest, RefusesBytesThatWereNotAskedFor) {
  for (const auto asked : {v1::NUMBER_TYPE_UNSPECIFIED, v1::NUMBER_TYPE_FLOAT32, v1::NUMBER_TYPE_BFLOAT16}) {
    TokenFault fault = TokenFault::kNone;
    EXPECT_EQ(ReasonOf(Receive(Int8Messages(), asked, &fault).status()), reason::kTierProtocol);
    EXPECT_EQ(fault, TokenFault::kDType);
  }
}

TEST(VisualTokensReceiverTest, RefusesScalesThatAreNone) {
  using Float = std::numeric_limits<float>;
  for (const float bad : {Float::quiet_NaN(), Float::infinity(), -Float::infinity(), -0.5f, Float::max()}) {
    ExpectInt8Refused(Int8Messages(bad), TokenFault::kScale);
  }
}

TEST(VisualTokensReceiverTest, RefusesTooFewAndTooManyScales) {
  for (const int more : {-4, 4}) {
    Messages messages = Int8Messages();
    std::string& data = *messages[1].mutable_chunk()->mutable_data();
    data = more < 0 ? data.substr(4) : std::string(4, '\0') + data;
    messages[1].mutable_chunk()->set_crc32c(Crc32c(data));
    messages[2].mutable_trailer()->set_total_bytes(static_cast<int64_t>(data.size()));
    ExpectInt8Refused(messages, TokenFault::kSize);
  }
}

TEST(VisualTokensReceiverTest, TimesThatCannotBeAreBounded) {
  Messages messages = TrueMessages();
  messages.back().mutable_trailer()->mutable_vit()->set_seconds(std::numeric_limits<int64_t>::max());
  messages.back().mutable_trailer()->mutable_image_decode()->set_seconds(-5);
  const auto tokens = Receive(messages);
  ASSERT_TRUE(tokens.ok());
  EXPECT_LE(tokens->timings.vit, std::chrono::hours(2));
  EXPECT_EQ(tokens->timings.image_decode, SteadyDuration::zero());
}

}  // namespace
}  // namespace diptych::language
