// One of two replicas is lost under load: no caller sees it.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/grpc/grpc_status.h"
#include "tests/end_to_end/stack.h"
#include "tests/testing/metrics_page.h"

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

// How many calls of the language service met a vision replica that did not answer them.
double RepeatedCalls(Stack& stack) {
  return testing::Scrape(stack.language().metrics_port()).Value("diptych_retries_total", {{"tier", "vision"}});
}

// Its connections stay open and nothing comes over them.
TEST(FailoverTest, AVisionReplicaThatStandsStillCostsNoQuestion) {
  constexpr int kCallers = 8;
  Stack stack({.vision_replicas = 2});
  CallersOfNewImages callers(stack, kCallers, 15);
  callers.AwaitAnswers(30);
  stack.vision(0).process().Signal(SIGSTOP);
  EXPECT_EQ(callers.Join(), absl::OkStatus());
  const double met = RepeatedCalls(stack);
  EXPECT_GE(met, 1);
  EXPECT_LE(met, 2 * kCallers) << "one call of each caller waits for it, and then it is known";
  CallersOfNewImages meanwhile(stack, kCallers, 5);
  EXPECT_EQ(meanwhile.Join(), absl::OkStatus());
  EXPECT_EQ(RepeatedCalls(stack), met) << "nobody asks it any more";
  stack.vision(0).process().Signal(SIGCONT);
  CallersOfNewImages later(stack, 4, 5);
  EXPECT_EQ(later.Join(), absl::OkStatus()) << "and one that goes on is no harm";
}

struct StreamOutcome {
  absl::Status status;
  std::string text;
  std::vector<int> tokens;
  v1::Answer answer;
};

StreamOutcome ReadStream(Stack& stack, const v1::Question& question, std::atomic<int>& begun) {
  grpc::ClientContext context;
  v1::AskStreamRequest request;
  *request.mutable_question() = question;
  const auto reader = stack.stub().AskStream(&context, request);
  StreamOutcome outcome;
  for (v1::AskStreamResponse event; reader->Read(&event);) {
    if (outcome.tokens.empty() && event.delta().token_ids_size() > 0) ++begun;
    outcome.text += event.delta().text();
    outcome.tokens.insert(outcome.tokens.end(), event.delta().token_ids().begin(), event.delta().token_ids().end());
    if (event.has_finished()) outcome.answer = event.finished();
  }
  outcome.status = FromGrpcStatus(reader->Finish());
  return outcome;
}

// A long answer that differs from those of other numbers: greedy, drawn with a seed, or with penalties.
v1::Question LongQuestion(int number) {
  v1::Question question =
      QuestionAbout(Sample("red_circle_blue_star.png"), absl::StrCat("What is number ", number, "?"));
  v1::GenerationOptions& options = *question.mutable_generation();
  options.set_max_new_tokens(90);
  options.set_ignore_eos(true);
  if (number % 3 == 1) {
    options.set_temperature(1);
    options.set_seed(static_cast<uint64_t>(number));
  }
  if (number % 3 == 2) {
    options.set_repetition_penalty(1.3);
    options.set_logprobs(1);
  }
  return question;
}

// Compares twenty streams, under which one of two replicas is killed, with the same asked one after the other. Adds to
// `resumed` how often answers went on elsewhere: on a busy machine all may end before this thread sees that half of
// them have begun.
void KillUnderStreams(int& resumed) {
  constexpr int kStreams = 20;
  // Each replica decodes two of its ten streams at a time.
  Stack stack({.language_replicas = 2, .gateway_flags = {"--affinity=none"}, .language_flags = {"--max_batch=2"}});
  std::atomic<int> begun = 0;
  std::vector<StreamOutcome> expected, streams(kStreams);
  for (int i = 0; i < kStreams; ++i) expected.push_back(ReadStream(stack, LongQuestion(i), begun));
  begun = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < kStreams; ++i) {
    callers.emplace_back([&, i] { streams[i] = ReadStream(stack, LongQuestion(i), begun); });
  }
  while (begun < kStreams / 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  stack.language(0).process().Signal(SIGKILL);
  for (std::thread& caller : callers) caller.join();
  for (int i = 0; i < kStreams; ++i) {
    SCOPED_TRACE(i);
    ASSERT_TRUE(streams[i].status.ok()) << streams[i].status;
    EXPECT_EQ(streams[i].text, expected[i].text);
    EXPECT_EQ(streams[i].tokens, expected[i].tokens);
    EXPECT_EQ(streams[i].answer.text(), expected[i].answer.text());
    EXPECT_EQ(streams[i].answer.logprobs_size(), expected[i].answer.logprobs_size());
    resumed += streams[i].answer.timings().resumed();
  }
}

TEST(FailoverTest, AKilledLanguageReplicaCostsNoStream) {
  int resumed = 0;
  for (int attempt = 0; attempt < 5 && resumed == 0; ++attempt) ASSERT_NO_FATAL_FAILURE(KillUnderStreams(resumed));
  EXPECT_GT(resumed, 0) << "no replica was lost in the middle of answers";
}

}  // namespace
}  // namespace diptych
