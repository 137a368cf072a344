// Messages that are small on the wire and large in memory.
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "diptych/v1/language.grpc.pb.h"
#include "diptych/v1/vision.grpc.pb.h"
#include "tests/end_to_end/stack.h"

namespace diptych {
namespace {

constexpr size_t kUnpackedBytes = 48 << 20;  // fewer than each service takes in one message

// The most memory that a process has held, in bytes.
int64_t PeakBytes(testing::ServerProcess& server) {
  std::ifstream status("/proc/" + std::to_string(server.process().pid()) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6)) * 1024;
  }
  return 0;
}

class CompressedMessagesTest : public testing::SharedStackTest {
 protected:
  // Calls `method` with a compressed request of kUnpackedBytes.
  template <typename Method>
  static void ExpectRefused(testing::ServerProcess& server, Method method) {
    const int64_t before = PeakBytes(server);
    for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
      grpc::ClientContext context;
      context.set_compression_algorithm(algorithm);
      const grpc::Status status = method(context);
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
    }
    EXPECT_LT(PeakBytes(server) - before, static_cast<int64_t>(kUnpackedBytes) / 2);
  }
};

TEST_F(CompressedMessagesTest, TheGatewayRefusesThemUnread) {
  ExpectRefused(stack_->gateway(), [](grpc::ClientContext& context) {
    v1::AskRequest request;
    request.mutable_question()->set_prompt(std::string(kUnpackedBytes, ' '));
    v1::AskResponse response;
    return stack_->stub().Ask(&context, request, &response);
  });
  ExpectRefused(stack_->gateway(), [](grpc::ClientContext& context) {
    v1::PlanContextRequest request;
    request.set_prompt(std::string(kUnpackedBytes, ' '));
    v1::PlanContextResponse response;
    return stack_->stub().PlanContext(&context, request, &response);
  });
}

TEST_F(CompressedMessagesTest, TheLanguageServiceRefusesThemUnread) {
  const auto stub = v1::LanguageService::NewStub(
      grpc::CreateChannel(stack_->language().address(), grpc::InsecureChannelCredentials()));
  ExpectRefused(stack_->language(), [&](grpc::ClientContext& context) {
    v1::GenerateRequest request;
    request.mutable_question()->set_prompt(std::string(kUnpackedBytes, ' '));
    return stub->Generate(&context, request)->Finish();
  });
}

TEST_F(CompressedMessagesTest, TheVisionServiceRefusesThemUnread) {
  const auto stub =
      v1::VisionService::NewStub(grpc::CreateChannel(stack_->vision().address(), grpc::InsecureChannelCredentials()));
  // What it takes at most is less: 32 MiB of image and some room.
  ExpectRefused(stack_->vision(), [&](grpc::ClientContext& context) {
    v1::EncodeImageRequest request;
    request.set_image(std::string(36 << 20, ' '));
    return stub->EncodeImage(&context, request)->Finish();
  });
}

TEST_F(CompressedMessagesTest, OthersAreAnsweredAllTheSame) {
  EXPECT_TRUE(stack_->Ask(testing::QuestionAbout("", "What color is the circle?")).ok());
}

}  // namespace
}  // namespace diptych
