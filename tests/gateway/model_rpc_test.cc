// GetModel and PlanContext through the RPC.
#include <gtest/gtest.h>

#include "tests/gateway/gateway_fixture.h"

namespace diptych::gateway {
namespace {

using testing::FakeLanguageTier;

class ModelRpcTest : public GatewayFixture {
 protected:
  absl::StatusOr<v1::GetModelResponse> GetModel() {
    grpc::ClientContext context;
    v1::GetModelResponse response;
    const grpc::Status status = stub_->GetModel(&context, {}, &response);
    if (!status.ok()) return FromGrpcStatus(status);
    return response;
  }

  absl::StatusOr<v1::PlanContextResponse> Plan(const v1::PlanContextRequest& request) {
    grpc::ClientContext context;
    v1::PlanContextResponse response;
    const grpc::Status status = stub_->PlanContext(&context, request, &response);
    if (!status.ok()) return FromGrpcStatus(status);
    return response;
  }
};

TEST_F(ModelRpcTest, DescribesBothTiersTogetherAndTheLimits) {
  FakeLanguageTier language;
  StartGateway(language.target(), {.max_inflight = 7});
  const auto response = GetModel();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->model().name(), "fake");
  ASSERT_EQ(response->model().parts_size(), 4);
  EXPECT_EQ(response->model().parts(0).name(), "vision");
  EXPECT_EQ(response->model().parts(3).name(), "language");
  EXPECT_EQ(response->limits().max_inflight(), 7);
  EXPECT_EQ(response->limits().max_image_bytes(), 32 << 20);
  ASSERT_EQ(response->tiers_size(), 2);
  EXPECT_TRUE(response->tiers(0).serving() && response->tiers(1).serving());
}

TEST_F(ModelRpcTest, CountsThatCannotBeArePlannedWithByNobody) {
  FakeLanguageTier language;
  language.token_count.set_text_tokens(1 << 30);
  language.token_count.set_joint_tokens(1 << 30);
  StartGateway(language.target());
  v1::PlanContextRequest request;
  request.set_prompt("a");
  EXPECT_EQ(ReasonOf(Plan(request).status()), reason::kTierProtocol);
}

TEST_F(ModelRpcTest, AModelThatCannotBeIsNotDescribed) {
  FakeLanguageTier language;
  vision_.model.set_image_size(-1);
  StartGateway(language.target());
  const auto response = GetModel();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_FALSE(response->tiers(1).serving());
}

TEST_F(ModelRpcTest, AnnouncesAndEnforcesTheLeastOfAllImageLimits) {
  FakeLanguageTier language;
  language.model.set_max_image_bytes(1000);
  language.model.set_max_image_pixels(1'000'000'000);
  vision_.model.set_max_image_bytes(5000);
  vision_.model.set_max_image_pixels(99);
  StartGateway(language.target());
  const auto response = GetModel();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->limits().max_image_bytes(), 1000);
  EXPECT_EQ(response->limits().max_image_pixels(), 99);
  v1::AskRequest request;
  request.mutable_question()->add_images()->set_data(std::string(1001, 'x'));
  grpc::ClientContext context;
  v1::AskResponse answer;
  EXPECT_EQ(ReasonOf(FromGrpcStatus(stub_->Ask(&context, request, &answer))), reason::kImageTooLarge);
  EXPECT_EQ(language.calls(), 0);
}

TEST_F(ModelRpcTest, WithoutTheVisionTierItDescribesTheLanguageTierAlone) {
  FakeLanguageTier language;
  StartGateway(language.target());
  vision_.Kill();
  const auto response = GetModel();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->model().parts_size(), 3);
  EXPECT_TRUE(response->tiers(0).serving());
  EXPECT_FALSE(response->tiers(1).serving());
  EXPECT_FALSE(response->tiers(1).error().empty());
}

TEST_F(ModelRpcTest, ItsDescriptionOutlivesAReplicaOfEachTier) {
  FakeLanguageTier language;
  StartGateway(language.target());
  language.lost_descriptions = 2;
  vision_.lost_descriptions = 2;
  const auto response = GetModel();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_TRUE(response->tiers(0).serving());
  EXPECT_TRUE(response->tiers(1).serving());
}

TEST_F(ModelRpcTest, WithoutTheLanguageTierItIsUnavailable) {
  StartGateway(testing::DeadTarget(), {}, /*wait=*/false);
  const auto response = GetModel();
  EXPECT_EQ(response.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(response.status()), reason::kTierUnavailable);
  v1::PlanContextRequest plan;
  EXPECT_EQ(ReasonOf(Plan(plan).status()), reason::kTierUnavailable);
}

TEST_F(ModelRpcTest, PlansWithTheServedTokenizer) {
  FakeLanguageTier language;
  language.token_count.set_text_tokens(11);
  StartGateway(language.target());
  v1::PlanContextRequest request;
  request.add_images()->set_height(100);
  request.mutable_images(0)->set_width(100);
  request.set_prompt("how many shapes");
  const auto plan = Plan(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->text_tokens(), 11);
  EXPECT_EQ(plan->windows(0).budget().remaining(), 2048 - 32 - 11);
}

TEST_F(ModelRpcTest, QuestionsAboutTextsOutliveTheirReplica) {
  FakeLanguageTier language;
  StartGateway(language.target());
  const auto ask = [this](int number) {
    grpc::ClientContext context;
    v1::PlanContextRequest plan;
    plan.set_prompt("text");
    if (number == 0) return Plan(plan).status();
    v1::TokenizeResponse tokens;
    if (number == 1) return FromGrpcStatus(stub_->Tokenize(&context, {}, &tokens));
    v1::DetokenizeResponse text;
    return FromGrpcStatus(stub_->Detokenize(&context, {}, &text));
  };
  for (int number = 0; number < 3; ++number) {
    language.lost_texts = 2;
    EXPECT_TRUE(ask(number).ok()) << number;
    language.lost_texts = 3;
    EXPECT_EQ(ReasonOf(ask(number)), reason::kTierUnavailable) << number;
    EXPECT_EQ(language.lost_texts, 0) << "asked three times";
  }
}

TEST_F(ModelRpcTest, APlanOutOfRangeNamesItsField) {
  FakeLanguageTier language;
  StartGateway(language.target());
  v1::PlanContextRequest request;
  request.set_patch_size(-1);
  const auto plan = Plan(request);
  EXPECT_EQ(ReasonOf(plan.status()), reason::kOptionRange);
  EXPECT_EQ(FieldOf(plan.status()), "patch_size");
}

}  // namespace
}  // namespace diptych::gateway
