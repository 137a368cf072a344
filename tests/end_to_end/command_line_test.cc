// The command line against the three real processes, as the README shows it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/end_to_end/stack.h"
#include "tests/testing/paths.h"

namespace diptych {
namespace {

class CommandLineTest : public testing::SharedStackTest {
 protected:
  static testing::Finished Diptych(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), testing::BinaryPath("diptych"));
    return testing::RunProgram(arguments, input, {"DIPTYCH_SERVER=" + stack_->address()});
  }

  static std::vector<std::string> Samples() {
    std::vector<std::string> files;
    for (const auto& sample : nlohmann::json::parse(testing::ReadWhole(testing::kDemoModel + "/samples.json"))) {
      files.push_back(testing::kDemoModel + "/" + sample["image"].get<std::string>());
    }
    return files;
  }

  static std::vector<std::string> AskSamples() {
    std::vector<std::string> arguments{"ask", "--image"};
    for (const std::string& file : Samples()) arguments.push_back(file);
    for (const char* question : {"What color is the circle?", "How many shapes are there?"}) {
      arguments.insert(arguments.end(), {"--question", question});
    }
    return arguments;
  }

  static std::vector<std::string> Lines(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }
};

TEST_F(CommandLineTest, TheTableOfSamplesIsRight) {
  const testing::Finished ask = Diptych(AskSamples());
  EXPECT_EQ(ask.exit_code, 0) << ask.err;
  const auto lines = Lines(ask.out);
  ASSERT_EQ(lines.size(), 1 + 2 * Samples().size()) << ask.out;
  EXPECT_NE(lines[1].find("What color is the circle?   red "), std::string::npos) << lines[1];
  EXPECT_NE(lines[2].find("How many shapes are there?  2 "), std::string::npos) << lines[2];
}

TEST_F(CommandLineTest, JsonHasEveryField) {
  std::vector<std::string> arguments = AskSamples();
  arguments.push_back("--json");
  const testing::Finished ask = Diptych(arguments);
  EXPECT_EQ(ask.exit_code, 0) << ask.err;
  for (const std::string& line : Lines(ask.out)) {
    const auto object = nlohmann::json::parse(line);
    for (const char* field : {"image", "question", "answer", "token_ids", "prompt_token_ids", "finish_reason", "usage",
                              "timings", "context_budget", "model"}) {
      EXPECT_TRUE(object.contains(field)) << field;
    }
    EXPECT_GT(object["timings"]["total"], 0.0);
  }
}

TEST_F(CommandLineTest, StreamsACaptionWithItsNumbers) {
  const testing::Finished ask = Diptych({"ask", "--stream", "--image", Samples()[0]});
  EXPECT_EQ(ask.exit_code, 0) << ask.err;
  EXPECT_EQ(ask.out.find("a red circle"), 0u) << ask.out;
  EXPECT_NE(ask.err.find("prefill"), std::string::npos) << ask.err;
  EXPECT_NE(ask.err.find("context 160 tokens: image 16"), std::string::npos) << ask.err;
}

TEST_F(CommandLineTest, ChatsAboutAnImage) {
  const testing::Finished chat =
      Diptych({"chat", "--image", Samples()[0]}, "What color is the circle?\nHow many shapes are there?\n");
  EXPECT_EQ(chat.exit_code, 0) << chat.err;
  EXPECT_EQ(Lines(chat.out).size(), 2u) << chat.out;
  EXPECT_EQ(Lines(chat.out)[0], "red");
  EXPECT_NE(chat.err.find("history"), std::string::npos) << chat.err;
}

TEST_F(CommandLineTest, EveryCheckOfTheDoctorPasses) {
  const testing::Finished doctor = Diptych({"doctor"});
  EXPECT_EQ(doctor.exit_code, 0) << doctor.out << doctor.err;
  EXPECT_NE(doctor.out.find("cards of this host"), std::string::npos) << doctor.out;
  const testing::Finished status = Diptych({"status"});
  EXPECT_EQ(status.exit_code, 0) << status.out;
  EXPECT_EQ(Diptych({"models"}).exit_code, 0);
}

}  // namespace
}  // namespace diptych
