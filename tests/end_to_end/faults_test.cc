// Tiers that are gone, disagree or are stopped; callers that give up.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "common/grpc/grpc_status.h"
#include "common/status.h"
#include "tests/end_to_end/stack.h"
#include "tests/testing/metrics_page.h"

namespace diptych {
namespace {

using testing::QuestionAbout;
using testing::Sample;
using testing::Stack;

v1::Question About(const std::string& text) {
  return QuestionAbout(Sample("red_circle_blue_star.png"), text);
}

constexpr int kLongTokens = 120;

// As long an answer as the window takes.
v1::Question Long() {
  v1::Question question = About("");
  question.mutable_generation()->set_max_new_tokens(kLongTokens);
  question.mutable_generation()->set_min_new_tokens(kLongTokens);
  return question;
}

// Reads a stream to its end.
absl::Status Drink(grpc::ClientReader<v1::AskStreamResponse>& reader, bool& finished) {
  for (v1::AskStreamResponse event; reader.Read(&event);) finished |= event.has_finished();
  return FromGrpcStatus(reader.Finish());
}

TEST(FaultsTest, WithoutTheVisionTierTextIsStillAnswered) {
  Stack stack;
  stack.vision().process().Signal(SIGKILL);
  stack.vision().process().Wait();
  const absl::Status image = stack.Ask(About("What color is the circle?")).status();
  EXPECT_EQ(image.code(), absl::StatusCode::kUnavailable) << image;
  EXPECT_EQ(ReasonOf(image), reason::kTierUnavailable);
  const auto text = stack.Ask(QuestionAbout("", "What color is the circle?"));
  EXPECT_TRUE(text.ok()) << text.status();
}

TEST(FaultsTest, WithoutTheLanguageTierTheTierIsUnavailable) {
  Stack stack;
  stack.language().process().Signal(SIGKILL);
  stack.language().process().Wait();
  const absl::Status status = stack.Ask(About("What color is the circle?")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_EQ(ReasonOf(status), reason::kTierUnavailable);
}

TEST(FaultsTest, ALostLanguageReplicaLosesNoUnaryQuestion) {
  Stack stack({.language_replicas = 2});
  std::atomic<int> failed = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int k = 0; k < 10; ++k) failed += stack.Ask(About("What color is the circle?")).ok() ? 0 : 1;
    });
  }
  stack.language(0).process().Signal(SIGKILL);
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(failed, 0);
}

TEST(FaultsTest, OfTwoHundredQuestionsAtOnceEachGetsItsOutcome) {
  Stack stack;
  std::atomic<int> answered = 0, refused = 0, other = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 200; ++i) {
    callers.emplace_back([&] {
      const auto answer = stack.Ask(About("What color is the circle?"));
      const bool full = answer.status().code() == absl::StatusCode::kResourceExhausted &&
                        ReasonOf(answer.status()) == reason::kQueueFull && RetryAfterOf(answer.status()).has_value();
      ++(answer.ok() && answer->text() == "red" ? answered : full ? refused : other);
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(other, 0);
  EXPECT_GT(answered, 0);
  EXPECT_EQ(answered + refused, 200);
  EXPECT_TRUE(stack.Ask(About("What color is the circle?")).ok()) << "and it goes on";
}

// The demo checkpoint with one bit of a vision weight changed.
class OtherModel {
 public:
  OtherModel() : folder_(::testing::TempDir() + "/diptych_other_demo") {
    std::filesystem::remove_all(folder_);
    std::filesystem::copy(testing::kDemoModel, folder_, std::filesystem::copy_options::recursive);
    const std::string file = folder_ + "/model.safetensors";
    std::string bytes = testing::ReadWhole(file);
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
    const auto header = nlohmann::json::parse(bytes.substr(8, header_bytes));
    for (const auto& [name, tensor] : header.items()) {
      if (name.find("vision_model") == std::string::npos) continue;
      bytes[8 + header_bytes + tensor["data_offsets"][0].get<size_t>()] ^= 1;
      break;
    }
    std::filesystem::permissions(file, std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
    std::ofstream(file, std::ios::binary) << bytes;
  }
  ~OtherModel() { std::filesystem::remove_all(folder_); }
  const std::string& folder() const { return folder_; }

 private:
  const std::string folder_;
};

TEST(FaultsTest, TiersWithDifferentModelsRefuseImages) {
  const OtherModel other;
  Stack stack({.vision_model = other.folder()});
  const absl::Status status = stack.Ask(About("What color is the circle?")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(ReasonOf(status), reason::kModelMismatch);
  EXPECT_TRUE(stack.Ask(QuestionAbout("", "What color is the circle?")).ok()) << "text needs no vision";
}

// The passes that the decoder has made, once no process holds anything for a caller.
double PassesWhenIdle(Stack& stack) {
  for (const int port :
       {stack.gateway().metrics_port(), stack.language().metrics_port(), stack.vision().metrics_port()}) {
    const auto held = [port] {
      const testing::MetricsPage page = testing::Scrape(port);
      return page.Total("diptych_requests_running") + page.Total("diptych_requests_waiting") +
             page.Total("diptych_inflight_bytes");
    };
    while (held() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return testing::Scrape(stack.language().metrics_port()).Value("diptych_batch_size_count", {{"tier", "language"}});
}

// What the caller saw does not prove that work stops. So: calls `give_up`, which asks for a long answer and leaves,
// until the decoder has begun an answer and made fewer passes than it has tokens. `give_up` gets the number of the try.
void ExpectWorkStops(Stack& stack, const std::function<void(int)>& give_up) {
  constexpr int kTries = 20;
  for (int number = 1; number <= kTries; ++number) {
    const double before = PassesWhenIdle(stack);
    give_up(number);
    const double passes = PassesWhenIdle(stack) - before;
    if (passes > 0 && passes < kLongTokens) return;
  }
  ADD_FAILURE() << "none of " << kTries << " answers was given up while it was computed";
}

TEST(FaultsTest, ADeadlineEndsTheCallAndNothingElse) {
  Stack stack;
  auto patience = std::chrono::microseconds(4000);
  ExpectWorkStops(stack, [&](int number) {
    grpc::ClientContext context;
    patience += patience / 4;  // in 20 tries to 350 ms: slow machines begin late
    context.set_deadline(std::chrono::system_clock::now() + patience);
    v1::AskRequest request;
    *request.mutable_question() = Long();
    v1::AskResponse response;
    const auto code = stack.stub().Ask(&context, request, &response).error_code();
    EXPECT_TRUE(code == grpc::StatusCode::DEADLINE_EXCEEDED || number > 1) << code;
  });
  EXPECT_TRUE(stack.Ask(About("What color is the circle?")).ok());
}

TEST(FaultsTest, AServersDeadlineNamesTheStage) {
  Stack stack({.gateway_flags = {"--request_timeout=3ms"}});
  const absl::Status status = stack.Ask(Long()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("the deadline passed in stage"), absl::string_view::npos) << status;
}

TEST(FaultsTest, ACancelledStreamEndsAndNothingElse) {
  Stack stack;
  ExpectWorkStops(stack, [&](int) {
    grpc::ClientContext context;
    v1::AskStreamRequest request;
    *request.mutable_question() = Long();
    const auto reader = stack.stub().AskStream(&context, request);
    v1::AskStreamResponse event;
    while (reader->Read(&event) && !event.has_delta()) {
    }
    context.TryCancel();
    bool finished = false;
    EXPECT_EQ(Drink(*reader, finished).code(), absl::StatusCode::kCancelled);
  });
  EXPECT_TRUE(stack.Ask(About("What color is the circle?")).ok());
}

// Starts streams, waits until each has begun, sends SIGTERM, and expects every one to end with its answer.
void ExpectDrainLosesNothing(Stack& stack, testing::ServerProcess& stopped) {
  constexpr int kStreams = 6;
  std::vector<grpc::ClientContext> contexts(kStreams);
  std::vector<std::unique_ptr<grpc::ClientReader<v1::AskStreamResponse>>> readers;
  v1::AskStreamRequest request;
  *request.mutable_question() = Long();
  for (auto& context : contexts) readers.push_back(stack.stub().AskStream(&context, request));
  for (auto& reader : readers) reader->WaitForInitialMetadata();
  stopped.process().Signal(SIGTERM);
  for (auto& reader : readers) {
    bool finished = false;
    const absl::Status status = Drink(*reader, finished);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(finished);
  }
  EXPECT_EQ(stopped.process().Wait(), 0) << stopped.process().err();
}

TEST(DrainTest, TheGatewayFinishesWhatItHas) {
  Stack stack;
  ExpectDrainLosesNothing(stack, stack.gateway());
}

TEST(DrainTest, TheLanguageServiceFinishesWhatItHas) {
  Stack stack;
  ExpectDrainLosesNothing(stack, stack.language());
}

}  // namespace
}  // namespace diptych
