#include <gtest/gtest.h>

#include <mutex>

#include "common/grpc/grpc_status.h"
#include "common/replicas/tier_errors.h"
#include "common/status.h"
#include "tests/cli/cli_fixture.h"

namespace diptych::cli {
namespace {

using testing::DeltaMessage;
using testing::FakeLanguageTier;
using testing::Finished;
using testing::FinishedMessage;
using testing::PngHeader;
using testing::StartedMessage;

class AskCommandTest : public CliFixture {};

// Answers "<bytes of the first image>:<last text>", which tells rows apart.
grpc::Status Echo(int, grpc::ServerContext*, const v1::GenerateRequest& request, FakeLanguageTier::Writer* writer) {
  const v1::Question& question = request.question();
  const size_t bytes = question.images_size() > 0 ? question.images(0).data().size() : 0;
  const std::string text =
      std::to_string(bytes) + ":" +
      (question.turns_size() > 0 ? question.turns(question.turns_size() - 1).text() : question.prompt());
  writer->Write(StartedMessage());
  writer->Write(DeltaMessage(" " + text.substr(0, 2), 5));
  writer->Write(DeltaMessage(text.substr(2), 6));
  writer->Write(FinishedMessage(text));
  return grpc::Status::OK;
}

TEST_F(AskCommandTest, StreamsTheAnswerThenTellsTimeAndContext) {
  FakeLanguageTier language(Echo);
  StartGateway(language.target());
  const Finished ask = Diptych({"ask", "--image", WriteFile("a.png", PngHeader(8, 8)), "--question", "What is it?"});
  EXPECT_EQ(ask.exit_code, 0) << ask.err;
  EXPECT_EQ(ask.out, std::to_string(PngHeader(8, 8).size()) + ":What is it?\n");
  EXPECT_NE(ask.err.find("vit 4.0"), std::string::npos) << ask.err;
  EXPECT_NE(ask.err.find("context 2,048 tokens: image 32 + text 8 + answer 2, 2,006 left"), std::string::npos)
      << ask.err;
}

TEST_F(AskCommandTest, AQuestionIsATurnAndAPromptIsLiteral) {
  std::mutex mutex;
  std::vector<v1::Question> seen;
  FakeLanguageTier language(
      [&](int call, grpc::ServerContext* context, const v1::GenerateRequest& request, auto* writer) {
        {
          std::lock_guard lock(mutex);
          seen.push_back(request.question());
        }
        return Echo(call, context, request, writer);
      });
  StartGateway(language.target());
  EXPECT_EQ(Diptych({"ask", "--question", "Who?"}).exit_code, 0);
  EXPECT_EQ(Diptych({"ask", "--prompt", "a photo of"}).exit_code, 0);
  ASSERT_EQ(seen.size(), 2u);
  ASSERT_EQ(seen[0].turns_size(), 1);
  EXPECT_EQ(seen[0].turns(0).text(), "Who?");
  EXPECT_EQ(seen[0].images_size(), 0) << "text alone works";
  EXPECT_EQ(seen[1].prompt(), "a photo of");
}

TEST_F(AskCommandTest, SeveralImagesAndQuestionsMakeATableInOrder) {
  FakeLanguageTier language(Echo);
  StartGateway(language.target());
  const std::string one = WriteFile("one.png", PngHeader(8, 8));
  const std::string two = WriteFile("two.png", PngHeader(8, 8) + "xx");
  const Finished ask = Diptych({"ask", "--image", one, two, "--question", "Q1", "--question", "Q2"});
  EXPECT_EQ(ask.exit_code, 0) << ask.err;
  const std::vector<std::string> lines = Lines(ask.out);
  ASSERT_EQ(lines.size(), 5u) << ask.out;
  EXPECT_EQ(lines[0].find("image    question  answer "), 0u) << lines[0];
  const std::string size_one = std::to_string(PngHeader(8, 8).size()),
                    size_two = std::to_string(PngHeader(8, 8).size() + 2);
  EXPECT_EQ(lines[1].find("one.png  Q1        " + size_one + ":Q1 "), 0u) << lines[1];
  EXPECT_EQ(lines[2].find("one.png  Q2        " + size_one + ":Q2 "), 0u) << lines[2];
  EXPECT_EQ(lines[3].find("two.png  Q1        " + size_two + ":Q1 "), 0u) << lines[3];
  EXPECT_EQ(lines[4].find("two.png  Q2        " + size_two + ":Q2 "), 0u) << lines[4];
}

TEST_F(AskCommandTest, TogetherPutsAllImagesIntoOneQuestion) {
  std::atomic<int> images = 0;
  FakeLanguageTier language(
      [&](int call, grpc::ServerContext* context, const v1::GenerateRequest& request, auto* writer) {
        images = request.question().images_size();
        return Echo(call, context, request, writer);
      });
  StartGateway(language.target());
  const std::string file = WriteFile("a.png", PngHeader(8, 8));
  EXPECT_EQ(Diptych({"ask", "--together", "--image", file, file, file, "--question", "Q"}).exit_code, 0);
  EXPECT_EQ(images, 3);
  EXPECT_EQ(language.calls(), 1);
}

TEST_F(AskCommandTest, JsonHasEveryFieldOfTheContract) {
  FakeLanguageTier language(Echo);
  StartGateway(language.target());
  const std::string file = WriteFile("a.png", PngHeader(8, 8));
  const Finished ask = Diptych({"ask", "--json", "--image", file, "--question", "Q1", "--question", "Q2"});
  EXPECT_EQ(ask.exit_code, 0) << ask.err;
  const auto objects = JsonLines(ask.out);
  ASSERT_EQ(objects.size(), 2u) << ask.out;
  const auto& object = objects[0];
  EXPECT_EQ(object["image"], file);
  EXPECT_EQ(object["question"], "Q1");
  EXPECT_EQ(objects[1]["question"], "Q2");
  EXPECT_EQ(object["answer"], std::to_string(PngHeader(8, 8).size()) + ":Q1");
  EXPECT_EQ(object["token_ids"], (std::vector<int>{5, 6}));
  EXPECT_EQ(object["prompt_token_ids"], (std::vector<int>{2}));
  EXPECT_EQ(object["finish_reason"], "STOP");
  EXPECT_EQ(object["usage"]["total_tokens"], 42);
  EXPECT_EQ(object["usage"]["cached_tokens"], 0);
  EXPECT_DOUBLE_EQ(object["timings"]["vit"], 0.004) << "seconds";
  EXPECT_TRUE(object["timings"]["gateway"].is_number());
  EXPECT_TRUE(object["timings"]["time_to_first_token"].is_number());
  EXPECT_EQ(object["timings"]["cache_hits"]["vision_tokens"], 0);
  EXPECT_EQ(object["context_budget"]["remaining"], 2006);
  EXPECT_EQ(object["context_budget"]["turns_dropped"], 0);
  EXPECT_EQ(object["model"], "fake");
}

TEST_F(AskCommandTest, OptionsReachTheServerUnderTheirNames) {
  v1::Question seen;
  FakeLanguageTier language(
      [&](int call, grpc::ServerContext* context, const v1::GenerateRequest& request, auto* writer) {
        seen = request.question();
        return Echo(call, context, request, writer);
      });
  StartGateway(language.target());
  const Finished ask = Diptych({"ask",
                                "--question",
                                "Q",
                                "--max_new_tokens",
                                "7",
                                "--min_new_tokens",
                                "2",
                                "--temperature",
                                "0.5",
                                "--top_k",
                                "3",
                                "--top_p",
                                "0.9",
                                "--repetition_penalty",
                                "1.1",
                                "--presence_penalty",
                                "0.5",
                                "--frequency_penalty",
                                "-1",
                                "--logit_bias",
                                "5:-100",
                                "--logit_bias",
                                "6:2.5",
                                "--min_p",
                                "0.1",
                                "--best_of",
                                "3",
                                "--ignore_eos",
                                "--stop_token_ids",
                                "4",
                                "9",
                                "--cut_max_new_tokens",
                                "--prompt_logprobs",
                                "0",
                                "--num_beams",
                                "1",
                                "--length_penalty",
                                "-0.5",
                                "--seed",
                                "18446744073709551615",
                                "--stop",
                                "a",
                                "--stop",
                                "b",
                                "--logprobs",
                                "2",
                                "--image_size",
                                "448",
                                "--max_side",
                                "512",
                                "--token_merging",
                                "0",
                                "--model",
                                "fake"});
  EXPECT_EQ(ask.exit_code, 0) << ask.err;
  const v1::GenerationOptions& generation = seen.generation();
  EXPECT_EQ(generation.max_new_tokens(), 7);
  EXPECT_EQ(generation.min_new_tokens(), 2);
  EXPECT_EQ(generation.temperature(), 0.5);
  EXPECT_EQ(generation.top_k(), 3);
  EXPECT_EQ(generation.top_p(), 0.9);
  EXPECT_EQ(generation.repetition_penalty(), 1.1);
  EXPECT_EQ(generation.presence_penalty(), 0.5);
  EXPECT_EQ(generation.frequency_penalty(), -1);
  EXPECT_EQ(generation.logit_bias().at(5), -100);
  EXPECT_EQ(generation.logit_bias().at(6), 2.5);
  EXPECT_EQ(generation.min_p(), 0.1);
  EXPECT_EQ(generation.best_of(), 3);
  EXPECT_TRUE(generation.ignore_eos());
  EXPECT_EQ(generation.stop_token_ids_size(), 2);
  EXPECT_TRUE(generation.cut_max_new_tokens());
  EXPECT_TRUE(generation.has_prompt_logprobs());
  EXPECT_EQ(generation.num_beams(), 1);
  EXPECT_EQ(generation.length_penalty(), -0.5);
  EXPECT_EQ(generation.seed(), UINT64_MAX);
  EXPECT_EQ(generation.stop_size(), 2);
  EXPECT_EQ(generation.logprobs(), 2);
  EXPECT_EQ(seen.image_options().image_size(), 448);
  EXPECT_EQ(seen.image_options().max_side(), 512);
  EXPECT_TRUE(seen.image_options().has_token_merging());
  EXPECT_EQ(seen.model(), "fake");
}

TEST_F(AskCommandTest, UnsetOptionsAreLeftToTheServer) {
  v1::Question seen;
  FakeLanguageTier language(
      [&](int call, grpc::ServerContext* context, const v1::GenerateRequest& request, auto* writer) {
        seen = request.question();
        return Echo(call, context, request, writer);
      });
  StartGateway(language.target());
  EXPECT_EQ(Diptych({"ask", "--question", "Q"}).exit_code, 0);
  EXPECT_EQ(seen.generation().ByteSizeLong(), 0u);
  EXPECT_EQ(seen.image_options().ByteSizeLong(), 0u);
}

TEST_F(AskCommandTest, ARefusalIsOneLineWithReasonAndRemedyAndExitCodeOne) {
  FakeLanguageTier language;
  StartGateway(language.target());
  const Finished ask = Diptych({"ask", "--image", WriteFile("cat.jpg", testing::Bmp()), "--question", "Q"});
  EXPECT_EQ(ask.exit_code, 1);
  EXPECT_EQ(ask.out, "");
  ASSERT_EQ(Lines(ask.err).size(), 1u) << ask.err;
  EXPECT_EQ(ask.err.find("diptych: cat.jpg: IMAGE_FORMAT: "), 0u) << ask.err;
  EXPECT_NE(ask.err.find("Give a JPEG, PNG, WebP or GIF file"), std::string::npos);
}

TEST_F(AskCommandTest, WithJsonTheErrorIsAnObject) {
  FakeLanguageTier language([](int, auto*, const auto&, auto*) {
    return ToGrpcStatus(
        RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full", absl::Milliseconds(1500)));
  });
  StartGateway(language.target());
  const Finished ask = Diptych({"ask", "--json", "--deadline", "1s", "--question", "Q"});
  EXPECT_EQ(ask.exit_code, 1);
  const auto errors = JsonLines(ask.err);
  ASSERT_EQ(errors.size(), 1u) << ask.err;
  EXPECT_EQ(errors[0]["error"]["reason"], "QUEUE_FULL");
  EXPECT_EQ(errors[0]["error"]["code"], "RESOURCE_EXHAUSTED");
  EXPECT_EQ(errors[0]["error"]["retry_after"], 1.5);
}

// Full at first, as often as the gateway looks for room, then as Echo.
testing::FakeLanguageTier::Script FullOnce() {
  return [](int call, auto* context, const auto& request, auto* writer) {
    if (call > kMaxTierAttempts) return Echo(call, context, request, writer);
    return ToGrpcStatus(
        RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full", absl::Milliseconds(10)));
  };
}

TEST_F(AskCommandTest, AFullServerIsAskedAgain) {
  for (const char* form : {"--stream", "--json"}) {
    FakeLanguageTier language(FullOnce());
    StartGateway(language.target());
    const Finished ask = Diptych({"ask", form, "--question", "Q"});
    EXPECT_EQ(ask.exit_code, 0) << ask.err;
    EXPECT_EQ(language.calls(), kMaxTierAttempts + 1);
    EXPECT_NE(ask.out.find("Q"), std::string::npos) << ask.out;
    EXPECT_NE(ask.err.find(std::string_view(form) == "--json" ? R"({"waiting":{"reason":"QUEUE_FULL","seconds":0.01)"
                                                              : "diptych: the server is full; asking again in "),
              std::string::npos)
        << ask.err;
  }
}

TEST_F(AskCommandTest, ATableShowsWhatSucceededAndFailsForTheRest) {
  FakeLanguageTier language(Echo);
  StartGateway(language.target());
  const std::string good = WriteFile("good.png", PngHeader(8, 8)), bad = WriteFile("bad.png", "no image");
  const Finished ask = Diptych({"ask", "--image", bad, good, "--question", "Q"});
  EXPECT_EQ(ask.exit_code, 1);
  ASSERT_EQ(Lines(ask.out).size(), 3u) << ask.out;
  EXPECT_NE(Lines(ask.out)[1].find("(failed)"), std::string::npos);
  EXPECT_EQ(ask.err.find("diptych: bad.png, Q: IMAGE_FORMAT"), 0u) << ask.err;
}

TEST_F(AskCommandTest, AnUnreachableServerIsExitCodeThree) {
  server_ = testing::DeadTarget();
  const Finished ask = Diptych({"ask", "--question", "Q"});
  EXPECT_EQ(ask.exit_code, 3) << ask.err;
  EXPECT_NE(ask.err.find("--server"), std::string::npos);
  const std::string file = WriteFile("a.png", PngHeader(8, 8));
  const Finished table = Diptych({"ask", "--image", file, file, file, "--question", "Q1", "Q2"});
  EXPECT_EQ(table.exit_code, 3);
  EXPECT_EQ(Lines(table.err).size(), 1u) << "said once, not for every row: " << table.err;
}

TEST_F(AskCommandTest, UsageErrorsAreExitCodeTwo) {
  EXPECT_EQ(Diptych({"ask"}).exit_code, 2);
  EXPECT_EQ(Diptych({"ask", "--image", "no/such/file.png"}).exit_code, 2);
  EXPECT_EQ(Diptych({"ask", "--max_new_tokens", "many", "--question", "Q"}).exit_code, 2);
  EXPECT_EQ(Diptych({"ask", "--deadline", "soon", "--question", "Q"}).exit_code, 2);
  EXPECT_EQ(Diptych({"ask", "--no_such_option"}).exit_code, 2);
  EXPECT_EQ(Diptych({"sing"}).exit_code, 2);
  EXPECT_EQ(Diptych({}).exit_code, 2);
  EXPECT_EQ(Diptych({"--help"}).exit_code, 0);
  EXPECT_EQ(Diptych({"ask", "--help"}).exit_code, 0);
}

TEST_F(AskCommandTest, FlagsAreTakenAsPeopleWriteThem) {
  std::mutex mutex;
  std::vector<v1::Question> seen;
  FakeLanguageTier language([&](int call, auto* context, const v1::GenerateRequest& request, auto* writer) {
    {
      std::lock_guard lock(mutex);
      seen.push_back(request.question());
    }
    return Echo(call, context, request, writer);
  });
  StartGateway(language.target());
  const std::string file = WriteFile("a.png", PngHeader(8, 8));
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"ask", "-i", file, "-q", "Q", "-n", "7"},
        {"ask", "-i" + file, "-qQ", "-n7"},
        {"ask", "--image=" + file, "--question=Q", "--max-new-tokens=7"},
        {"--deadline", "5", "ask", file, "-q", "Q", "--max-new_tokens", "7"},
        {"--json", "--deadline=5s", "ask", "-q", "Q", file, "-n", "3", "-n", "7"}}) {
    const Finished ask = Diptych(arguments);
    EXPECT_EQ(ask.exit_code, 0) << ask.err;
    ASSERT_FALSE(seen.empty());
    EXPECT_EQ(seen.back().images_size(), 1);
    EXPECT_EQ(seen.back().generation().max_new_tokens(), 7);
    EXPECT_EQ(seen.back().turns(0).text(), "Q");
  }
  EXPECT_EQ(Diptych({"ask", "-p", "[INST] x [/INST]"}).exit_code, 0);
  EXPECT_EQ(seen.back().prompt(), "[INST] x [/INST]") << "one text, not a list";
}

TEST_F(AskCommandTest, MisspeltCommandsAndFlagsAreGuessed) {
  const Finished command = Diptych({"aks", "a.png"});
  EXPECT_EQ(command.exit_code, 2);
  EXPECT_NE(command.err.find("did you mean ask?"), std::string::npos) << command.err;
  const Finished flag = Diptych({"ask", "--qestion", "Q"});
  EXPECT_EQ(flag.exit_code, 2);
  EXPECT_NE(flag.err.find("did you mean --question?"), std::string::npos) << flag.err;
  EXPECT_NE(Diptych({}).err.find("a command is missing"), std::string::npos);
  for (const char* deadline : {"soon", "0", "-1", "nan", "inf", "5 parsecs"}) {
    EXPECT_EQ(Diptych({"ask", "--deadline", deadline, "-q", "Q"}).exit_code, 2) << deadline;
  }
}

TEST_F(AskCommandTest, ADeadlineThatPassesIsAFailure) {
  FakeLanguageTier language([](int, grpc::ServerContext* context, const auto&, auto*) {
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  });
  StartGateway(language.target());
  const Finished ask = Diptych({"ask", "--deadline", "300ms", "--question", "Q"});
  EXPECT_EQ(ask.exit_code, 1);
  EXPECT_NE(ask.err.find("DEADLINE_EXCEEDED"), std::string::npos) << ask.err;
}

TEST_F(AskCommandTest, TextCannotSteerTheTerminal) {
  FakeLanguageTier language([](int, auto*, const auto&, auto* writer) {
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("\x1b[2Jred\x07", 5));
    writer->Write(FinishedMessage("\x1b[2Jred\x07"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  EXPECT_EQ(Diptych({"ask", "--question", "Q"}).out, "?[2Jred?\n");
}

}  // namespace
}  // namespace diptych::cli
