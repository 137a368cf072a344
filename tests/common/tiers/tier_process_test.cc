#include "common/tiers/tier_process.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

namespace diptych {
namespace {

struct SickOptions {
  absl::Duration drain_delay, drain_timeout;
};

// Whose engine has failed.
class SickServer {
 public:
  static absl::StatusOr<std::unique_ptr<SickServer>> Start(const SickOptions&) {
    return std::make_unique<SickServer>();
  }

  int port() const { return 1; }
  int metrics_port() const { return 0; }
  v1::ModelDescription model() const { return {}; }
  absl::Status health() const { return absl::UnavailableError("the device is lost"); }
  void SetUnready(const absl::Status&) { std::fputs("no longer ready\n", stderr); }
  void Drain() {}
};

TEST(TierProcessTest, ASickServerSaysWhyTurnsReadinessOffAndEndsWithOne) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT((void)ServeTier<SickServer>("vision", SickOptions{}), ::testing::ExitedWithCode(1),
              "ending: the device is lost(.|\n)*no longer ready");
}

}  // namespace
}  // namespace diptych
