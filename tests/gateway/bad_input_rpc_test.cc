// Everything that the gateway itself refuses, through the RPC, with its code, reason and field.
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <functional>

#include "common/error_details.h"
#include "common/grpc/wire.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/gateway/gateway_fixture.h"
#include "tests/testing/image_headers.h"

namespace diptych::gateway {
namespace {

using testing::FakeLanguageTier;
using testing::PngHeader;

struct BadInput {
  const char* name;
  std::function<void(v1::Question&)> make;
  absl::StatusCode code;
  std::string_view reason;
  const char* field;
};

class BadInputRpcTest : public GatewayFixture, public ::testing::WithParamInterface<BadInput> {};

TEST_P(BadInputRpcTest, IsRefusedBeforeTheTierSeesIt) {
  FakeLanguageTier language;
  StartGateway(language.target());
  v1::Question question = TextQuestion();
  GetParam().make(question);
  const absl::Status unary = Ask(question).status();
  EXPECT_EQ(unary.code(), GetParam().code) << unary;
  EXPECT_EQ(ReasonOf(unary), GetParam().reason);
  EXPECT_EQ(FieldOf(unary), GetParam().field);
  EXPECT_EQ(AskStream(question).status, unary);
  EXPECT_EQ(language.calls(), 0);
}

std::string Image33MiB() {
  return PngHeader(64, 64) + std::string(33 << 20, '\0');
}

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
const BadInput kBadInputs[] = {
    {"NoImageBytes", [](auto& q) { q.add_images()->set_data(""); }, kInvalid, reason::kImageFormat,
     "question.images[0]"},
    {"BitmapRenamed", [](auto& q) { q.add_images()->set_data(testing::Bmp()); }, kInvalid, reason::kImageFormat,
     "question.images[0]"},
    {"ImageByAddress", [](auto& q) { q.add_images()->set_url("https://example.com/cat.jpg"); }, kInvalid,
     reason::kImageUrlRefused, "question.images[0]"},
    {"OneByNothing", [](auto& q) { q.add_images()->set_data(PngHeader(1, 0)); }, kInvalid, reason::kImageCorrupt,
     "question.images[0]"},
    {"TwentyThousandByOne", [](auto& q) { q.add_images()->set_data(PngHeader(20000, 1)); }, kInvalid,
     reason::kImageTooLarge, "question.images[0]"},
    {"PngBomb", [](auto& q) { q.add_images()->set_data(PngHeader(16384, 16384)); }, kInvalid, reason::kImageTooLarge,
     "question.images[0]"},
    {"Image33MiB", [](auto& q) { q.add_images()->set_data(Image33MiB()); }, kInvalid, reason::kImageTooLarge,
     "question.images[0]"},
    {"NineImages",
     [](auto& q) {
       for (int i = 0; i < 9; ++i) q.add_images()->set_data(PngHeader(8, 8));
     },
     kInvalid, reason::kTooManyImages, "question.images"},
    {"NothingAsked", [](auto& q) { q.clear_prompt(); }, kInvalid, reason::kQuestionForm, "question"},
    {"PromptOver64KiB", [](auto& q) { q.set_prompt(std::string(65537, 'a')); }, kInvalid, reason::kOptionRange,
     "question.prompt"},
    {"OptionOutOfRange", [](auto& q) { q.mutable_generation()->set_top_p(1.5); }, kInvalid, reason::kOptionRange,
     "question.generation.top_p"},
    {"TextIsNotUtf8", [](auto& q) { q.set_prompt("caf\xe9"); }, kInvalid, reason::kTextEncoding, "question.prompt"},
    {"UnknownModel", [](auto& q) { q.set_model("gpt"); }, absl::StatusCode::kNotFound, reason::kModelUnknown, ""},
};
INSTANTIATE_TEST_SUITE_P(Question, BadInputRpcTest, ::testing::ValuesIn(kBadInputs),
                         [](const auto& info) { return std::string(info.param.name); });

class RawBytesRpcTest : public GatewayFixture {
 protected:
  grpc::Status Send(const std::string& method, const std::string& bytes) {
    grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel_);
    grpc::ClientContext context;
    grpc::Slice slice(bytes);
    grpc::ByteBuffer request(&slice, 1), response;
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareUnaryCall(&context, "/diptych.v1.GatewayService/" + method, request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag;
    bool ok;
    queue.Next(&tag, &ok);
    return status;
  }
};

TEST_F(RawBytesRpcTest, BytesThatAreNoMessageAreInvalid) {
  FakeLanguageTier language;
  StartGateway(language.target());
  for (const char* method : {"Ask", "PlanContext"}) {
    const grpc::Status status = Send(method, "\x0a\x7fgarbage");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
    EXPECT_EQ(ReasonOf(FromGrpcStatus(status)), reason::kMalformedRequest) << method;
  }
  EXPECT_TRUE(Ask(TextQuestion()).ok()) << "and the server goes on";
}

TEST_F(RawBytesRpcTest, UnknownFieldsAreIgnored) {
  FakeLanguageTier language;
  StartGateway(language.target());
  v1::AskRequest request;
  *request.mutable_question() = TextQuestion();
  EXPECT_TRUE(Send("Ask", request.SerializeAsString() + "\xf8\x7f\x01").ok());
}

// The wire form that foreign clients read: google.rpc.Status with ErrorInfo and BadRequest.
TEST_F(RawBytesRpcTest, ErrorDetailsAreInTheStandardForm) {
  FakeLanguageTier language;
  StartGateway(language.target());
  v1::AskRequest request;
  *request.mutable_question() = TextQuestion();
  request.mutable_question()->mutable_generation()->set_num_beams(9);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(Send("Ask", request.SerializeAsString()).error_details()));
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad;
  ASSERT_EQ(details.details_size(), 2);
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  ASSERT_TRUE(details.details(1).UnpackTo(&bad));
  EXPECT_EQ(info.reason(), "OPTION_RANGE");
  EXPECT_EQ(bad.field_violations(0).field(), "question.generation.num_beams");
}

}  // namespace
}  // namespace diptych::gateway
