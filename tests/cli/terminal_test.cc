// What a person sees on a terminal: rows as they come, a counter, Ctrl-C, line editing, widths, colors.
#include "tests/testing/terminal.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "tests/cli/cli_fixture.h"
#include "tests/testing/child_process.h"

namespace diptych::cli {
namespace {

using testing::ChildProcess;
using testing::DeltaMessage;
using testing::FakeLanguageTier;
using testing::Finished;
using testing::FinishedMessage;
using testing::StartedMessage;
using testing::Terminal;

constexpr char kCtrlC[] = "\x03";
constexpr char kCtrlD[] = "\x04";
constexpr char kUp[] = "\x1b[A";

// Echoes the last turn; "slow" never ends, "late" ends when `release` is set.
std::atomic<bool> release = false;
grpc::Status EchoOrStall(int, grpc::ServerContext* context, const v1::GenerateRequest& request, auto* writer) {
  const v1::Question& question = request.question();
  const std::string text = question.turns_size() > 0 ? question.turns().rbegin()->text() : question.prompt();
  writer->Write(StartedMessage());
  writer->Write(DeltaMessage("echo of " + text, 5));
  const bool late = text.find("late") != std::string::npos;
  while ((text.find("slow") != std::string::npos || (late && !release)) && !context->IsCancelled()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  writer->Write(FinishedMessage("echo of " + text));
  return grpc::Status::OK;
}

class TerminalTest : public CliFixture {
 protected:
  void SetUp() override { StartGateway(language_.target()); }

  std::unique_ptr<Terminal> Open(std::vector<std::string> arguments, unsigned short columns = 80) {
    environment_ = {"DIPTYCH_SERVER=" + server_};
    arguments.insert(arguments.begin(), testing::BinaryPath("diptych"));
    return std::make_unique<Terminal>(arguments, environment_, columns);
  }

  std::unique_ptr<ChildProcess> Start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), testing::BinaryPath("diptych"));
    return std::make_unique<ChildProcess>(arguments, "", std::vector<std::string>{"DIPTYCH_SERVER=" + server_});
  }

  FakeLanguageTier language_{[](int call, auto* context, const auto& request, auto* writer) {
    return EchoOrStall(call, context, request, writer);
  }};
  std::vector<std::string> environment_;  // outlives the terminal's start
};

TEST_F(TerminalTest, ChatEditsLinesAndRemembersThem) {
  const auto chat = Open({"chat"});
  ASSERT_TRUE(chat->Await("> "));
  chat->Type("helo\x1b[Dl\r");  // left arrow, then the missing letter
  EXPECT_TRUE(chat->Await("echo of hello")) << chat->shown();
  ASSERT_TRUE(chat->Await("> "));
  chat->Type("caf\xc3\xa9x\x7f\r");  // a character of two bytes; the last one is taken back
  EXPECT_TRUE(chat->Await("echo of caf\xc3\xa9")) << chat->shown();
  ASSERT_TRUE(chat->Await("> "));
  chat->Type(std::string(kUp) + kUp + "\r");
  EXPECT_TRUE(chat->Await("echo of hello")) << chat->shown();
  ASSERT_TRUE(chat->Await("> "));
  chat->Type("/help\r");
  EXPECT_TRUE(chat->Await("/image FILE")) << chat->shown();
  ASSERT_TRUE(chat->Await("> "));
  chat->Type("/qiut\r");
  EXPECT_TRUE(chat->Await("did you mean /quit?")) << chat->shown();
  ASSERT_TRUE(chat->Await("> "));
  chat->Type("/quit\r");
  EXPECT_EQ(chat->Wait(), 0);
}

TEST_F(TerminalTest, CtrlCEndsTheAnswerAndNotTheChat) {
  const auto chat = Open({"chat"});
  ASSERT_TRUE(chat->Await("> "));
  chat->Type("slow one\r");
  ASSERT_TRUE(chat->Await("echo of slow one"));
  chat->Type(kCtrlC);
  ASSERT_TRUE(chat->Await("> ")) << chat->shown();
  chat->Type("half a line");
  ASSERT_TRUE(chat->Await("half a line"));
  chat->Type(kCtrlC);
  ASSERT_TRUE(chat->Await("^C")) << chat->shown();
  ASSERT_TRUE(chat->Await("> "));
  chat->Type("next\r");
  EXPECT_TRUE(chat->Await("echo of next")) << chat->shown();
  ASSERT_TRUE(chat->Await("> "));
  chat->Type(kCtrlD);
  EXPECT_EQ(chat->Wait(), 0) << chat->shown();
}

TEST_F(TerminalTest, CtrlDTypedDuringAnAnswerLeavesAfterIt) {
  const auto chat = Open({"chat"});
  ASSERT_TRUE(chat->Await("> "));
  chat->Type("late one\r");
  ASSERT_TRUE(chat->Await("echo of late one"));
  chat->Type(kCtrlD);
  release = true;
  EXPECT_EQ(chat->Wait(), 0) << chat->shown();
}

TEST_F(TerminalTest, RowsComeOneByOneThenACounterThenWhatThereIsAfterCtrlC) {
  const auto ask = Open({"ask", "-q", "one", "two", "slow three", "four", "slow five"});
  EXPECT_TRUE(ask->Await("echo of one")) << "before the last has been answered: " << ask->shown();
  EXPECT_TRUE(ask->Await("echo of two"));
  EXPECT_TRUE(ask->Await("3 of 5 answered, ")) << ask->shown();
  ask->Type(kCtrlC);
  EXPECT_EQ(ask->Wait(), 130) << ask->shown();
  EXPECT_NE(ask->shown().find("echo of four"), std::string::npos) << "it was answered: " << ask->shown();
  EXPECT_NE(ask->shown().find("interrupted; 3 of 5 answered"), std::string::npos) << ask->shown();
}

TEST_F(TerminalTest, AnInterruptedAnswerShowsItsBeginning) {
  const auto ask = Start({"ask", "-q", "slow"});
  ASSERT_TRUE(ask->WaitForOutput("echo of slow"));
  ask->Signal(SIGINT);
  EXPECT_EQ(ask->Wait(), 130);
  EXPECT_EQ(ask->out(), "echo of slow\n");
  EXPECT_NE(ask->err().find("diptych: interrupted\n"), std::string::npos) << ask->err();
}

TEST_F(TerminalTest, TheCounterIsAlsoThereWithoutATerminal) {
  const auto ask = Start({"ask", "--json", "-q", "one", "slow"});
  ASSERT_TRUE(ask->WaitForOutput("echo of one"));
  for (int i = 0; i < 500 && ask->err().empty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(ask->err().find(R"({"progress":{"done":)"), 0u) << ask->err();
  ask->Signal(SIGINT);
  EXPECT_EQ(ask->Wait(), 130);
  EXPECT_EQ(Lines(ask->out()).size(), 1u);
}

TEST_F(TerminalTest, LongCommandsShowWhatTheyHaveAfterCtrlC) {
  const auto nine_answers = [](int call, grpc::ServerContext* context, const auto&, auto* writer) {
    while (call > 9 && !context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("red", 5));
    writer->Write(FinishedMessage("red"));
    return grpc::Status::OK;
  };
  const std::string image = WriteFile("a.png", testing::PngHeader(8, 8));
  for (const auto& [command, words] : {std::pair<std::vector<std::string>, std::string>{
                                           {"sweep", image, "--repeat", "20", "--sizes", "112,224"}, "224"},
                                       {{"bench", "cost"}, "text alone"},
                                       {{"bench", "load", "--requests", "64", "--concurrency", "2"}, "answers/s"},
                                       {{"sweep", image, "--json", "--repeat", "20", "--sizes", "112,224"}, "224"},
                                       {{"bench", "load", "--json"}, "\"answered\":"}}) {
    FakeLanguageTier fresh(nine_answers);
    StartGateway(fresh.target());
    for (int i = 0; i < 100 && Diptych({"status"}).exit_code != 0; ++i) {
    }
    const auto run = Start(command);
    for (int i = 0; i < 1500 && fresh.calls() < 10; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    run->Signal(SIGINT);
    EXPECT_EQ(run->Wait(), 130) << command[0] << run->err();
    EXPECT_NE(run->out().find(words), std::string::npos) << command[0] << ": " << run->out();
    EXPECT_NE(run->err().find("interrupted"), std::string::npos) << run->err();
  }
}

TEST_F(TerminalTest, ALoadThatStillDrawsItsImagesSaysHowFarItGot) {
  const auto load = Start({"bench", "load", "--requests", "100000"});
  for (int i = 0; i < 1500 && load->err().empty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  load->Signal(SIGINT);
  EXPECT_EQ(load->Wait(), 130) << load->err();
  EXPECT_NE(load->err().find("diptych: interrupted; "), std::string::npos) << load->err();
  EXPECT_NE(load->err().find(" of 100000 images drawn\n"), std::string::npos) << load->err();
}

TEST_F(TerminalTest, TablesFitTheTerminal) {
  const std::string question = "What is the color of the circle that lies beside the star, and how many are there?";
  for (const unsigned short columns : {40, 80}) {
    const auto ask = Open({"ask", "-q", question, "Why?"}, columns);
    EXPECT_EQ(ask->Wait(), 0);
    for (const std::string& line : Lines(ask->shown())) EXPECT_LE(line.size(), columns + 6u) << line;  // … and CR
    EXPECT_NE(ask->shown().find("…"), std::string::npos);
  }
  const Finished piped = Diptych({"ask", "-q", question, "Why?"});
  EXPECT_NE(piped.out.find("echo of " + question), std::string::npos) << "whole: " << piped.out;
}

TEST_F(TerminalTest, WideTablesAreWrapped) {
  const auto status = Open({"status"}, 64);
  EXPECT_EQ(status->Wait(), 0) << status->shown();
  for (const std::string& line : Lines(status->shown())) EXPECT_LE(line.size(), 64u + 1) << line;  // CR
}

TEST_F(TerminalTest, HelpFitsTheTerminal) {
  for (const char* command : {"ask", "bench", "status"}) {
    const auto help = Open({command, "--help"}, 40);
    EXPECT_EQ(help->Wait(), 0);
    for (const std::string& line : Lines(help->shown())) {
      const bool name = line.find("--") != std::string::npos || line.find("Usage:") == 0;
      EXPECT_TRUE(name || line.size() <= 41) << line;
    }
  }
}

TEST_F(TerminalTest, ColorsAreForTerminalsThatWantThem) {
  const auto colored = [this](std::vector<std::string> arguments, const std::string& variable = "NOTHING=1") {
    environment_ = {"DIPTYCH_SERVER=" + server_, variable};
    arguments.insert(arguments.begin(), testing::BinaryPath("diptych"));
    Terminal terminal(arguments, environment_);
    terminal.Wait();
    return terminal.shown().find("\x1b[2m") != std::string::npos;
  };
  EXPECT_TRUE(colored({"ask", "-q", "x"}));
  EXPECT_FALSE(colored({"ask", "-q", "x"}, "NO_COLOR=1"));
  EXPECT_TRUE(colored({"ask", "-q", "x"}, "NO_COLOR=")) << "empty is as unset";
  EXPECT_FALSE(colored({"ask", "-q", "x"}, "TERM=dumb"));
  EXPECT_FALSE(colored({"ask", "-q", "x", "--color=never"}));
  EXPECT_TRUE(colored({"--color", "always", "ask", "-q", "x"}, "NO_COLOR=1"));
  EXPECT_EQ(Diptych({"ask", "-q", "x"}).err.find('\x1b'), std::string::npos);
  EXPECT_NE(Diptych({"ask", "-q", "x", "--color=always"}).err.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace diptych::cli
