// One of two vision replicas is lost under load: no caller sees it.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/end_to_end/stack.h"

namespace diptych {
namespace {

using testing::QuestionAbout;
using testing::Sample;
using testing::Stack;

// Callers that ask, one question after another, about images that no cache knows.
class CallersOfNewImages {
 public:
  CallersOfNewImages(Stack& stack, int callers, int questions) {
    for (int i = 0; i < callers; ++i) {
      threads_.emplace_back([this, &stack, questions] {
        for (int k = 0; k < questions; ++k) Ask(stack);
      });
    }
  }

  void AwaitAnswers(int count) const {
    while (answered_ < count) std::this_thread::yield();
  }

  // The first error, or OK if every question was answered truly.
  absl::Status Join() {
    for (std::thread& thread : threads_) thread.join();
    return first_error_;
  }

 private:
  void Ask(Stack& stack) {
    const std::string image = absl::StrCat(Sample("red_circle_blue_star.png"), "image ", ++images_);
    const auto answer = stack.Ask(QuestionAbout(image, "What color is the circle?"));
    const bool is_true = answer.ok() && answer->text() == "red";
    if (!is_true) {
      std::lock_guard lock(mutex_);
      if (first_error_.ok()) first_error_ = answer.ok() ? absl::InternalError(answer->text()) : answer.status();
    }
    ++answered_;
  }

  std::vector<std::thread> threads_;
  std::atomic<int> images_ = 0, answered_ = 0;
  std::mutex mutex_;
  absl::Status first_error_;
};

TEST(FailoverTest, AKilledVisionReplicaCostsNoQuestion) {
  Stack stack({.vision_replicas = 2});
  CallersOfNewImages callers(stack, 8, 15);
  callers.AwaitAnswers(30);
  stack.vision(0).process().Signal(SIGKILL);
  EXPECT_EQ(callers.Join(), absl::OkStatus());
}

// Its connections stay open and nothing comes over them.
TEST(FailoverTest, AVisionReplicaThatStandsStillCostsNoQuestion) {
  Stack stack({.vision_replicas = 2});
  CallersOfNewImages callers(stack, 8, 15);
  callers.AwaitAnswers(30);
  stack.vision(0).process().Signal(SIGSTOP);
  EXPECT_EQ(callers.Join(), absl::OkStatus());
  stack.vision(0).process().Signal(SIGCONT);
  CallersOfNewImages later(stack, 4, 5);
  EXPECT_EQ(later.Join(), absl::OkStatus()) << "and one that goes on is no harm";
}

}  // namespace
}  // namespace diptych
