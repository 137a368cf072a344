// A vision replica that fails every image, or holds another model, next to one that does not.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/grpc/grpc_status.h"
#include "common/replicas/outlier_detection.h"
#include "common/status.h"
#include "tests/language_service/language_fixture.h"
#include "tests/testing/metrics_page.h"

namespace diptych::language {
namespace {

using testing::ScriptedAnswer;
using testing::ScriptedVisionTier;

// `sick` is how its first replica answers.
class TwoVisionReplicas : public testing::LanguageFixture {
 protected:
  explicit TwoVisionReplicas(ScriptedVisionTier::Answer sick) : sick_(std::move(sick)) {
    options_.cache_bytes = 0;  // each question asks the vision tier
    options_.metrics_listen = "127.0.0.1:0";
    options_.vision_target = absl::StrCat("ipv4:127.0.0.1:", sick_.port(), ",127.0.0.1:", well_.port());
    Start();
  }

  double Ejected() { return Shown("diptych_ejected_replicas"); }

  // Until then all attempts of a question may meet the one that is connected.
  void AwaitBothKnown() {
    while (Shown("diptych_known_replicas") < 2) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }

  // Images that differ choose among the replicas; bytes behind the end of one make it another.
  bool AskNewImage() {
    const std::string image = testing::GoodPng() + std::to_string(++images_);
    return Ask(testing::RequestWithImage(image, "the cat")).status.ok();
  }

  double Shown(const std::string& metric) {
    return testing::Scrape(server_->metrics_port()).Value(metric, {{"tier", "vision"}});
  }

  int images_ = 0;
  ScriptedVisionTier sick_;
  ScriptedVisionTier well_{[](const v1::EncodeImageRequest& request, int) { return True(request); }};
};

class OutlierVisionTest : public TwoVisionReplicas {
 protected:
  OutlierVisionTest()
      : TwoVisionReplicas([](const v1::EncodeImageRequest&, int) {
          return ScriptedAnswer{.messages = {}, .status = grpc::Status(grpc::StatusCode::INTERNAL, "")};
        }) {}
};

// As while a new model is rolled out: its replica says so, or its tokens do.
class OtherModelTest : public TwoVisionReplicas, public ::testing::WithParamInterface<ScriptedVisionTier::Answer> {
 public:
  static ScriptedAnswer Tokens(const v1::EncodeImageRequest& request, int) {
    ScriptedAnswer answer = True(request);
    answer.messages.front().mutable_header()->set_model_fingerprint("another");
    return answer;
  }
  static ScriptedAnswer Refusal(const v1::EncodeImageRequest&, int) {
    return {.messages = {},
            .status = ToGrpcStatus(MakeError(absl::StatusCode::kFailedPrecondition, reason::kModelMismatch, ""))};
  }

 protected:
  OtherModelTest() : TwoVisionReplicas(GetParam()) {}
};

TEST_P(OtherModelTest, AnImageIsAskedOfAReplicaThatHoldsTheRightOne) {
  AwaitBothKnown();
  for (int i = 0; i < 1000 && sick_.calls() == 0; ++i) EXPECT_TRUE(AskNewImage());
  EXPECT_GT(sick_.calls(), 0);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(AskNewImage());
}

INSTANTIATE_TEST_SUITE_P(Replicas, OtherModelTest,
                         ::testing::Values(&OtherModelTest::Tokens, &OtherModelTest::Refusal));

TEST_F(OutlierVisionTest, MeetsTheFirstFewImagesOnlyAndIsCounted) {
  EXPECT_EQ(Ejected(), 0);
  const auto begin = SteadyClock::now();
  // Nobody is left out before another replica is known.
  for (int i = 0; i < 1000 && well_.calls() == 0; ++i) (void)AskNewImage();
  const int most = std::max(sick_.calls() + 1, OutlierDetection::kFailures);
  for (int i = 0; i < 1000 && Ejected() == 0; ++i) (void)AskNewImage();
  const int met = sick_.calls();
  int answered = 0;
  for (int i = 0; i < 30; ++i) answered += AskNewImage() ? 1 : 0;
  if (SteadyClock::now() - begin >= OutlierDetection::kFirstEjection) GTEST_SKIP() << "too slow to tell";
  EXPECT_EQ(answered, 30);
  EXPECT_GE(met, OutlierDetection::kFailures);
  EXPECT_LE(met, most);
  EXPECT_EQ(sick_.calls(), met);
}

}  // namespace
}  // namespace diptych::language
