// What shells and man are told: completions, driven in each shell, and the manual page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tests/cli/cli_fixture.h"

namespace diptych::cli {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class ShellTest : public CliFixture {};

// What the shell named by the parameter offers.
class CompletionTest : public CliFixture, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    shell_ = std::string(kShells) + GetParam();
    if (!std::filesystem::exists(shell_))
      GTEST_SKIP() << shell_ << " is not installed; scripts/setup.sh --tests does it";
    script_ = WriteFile(std::string("completion.") + GetParam(), Diptych({"completion", GetParam()}).out);
    files_.push_back(script_ + ".dump");
  }

  // Behind `diptych` and these words, the last of which is being typed.
  std::vector<std::string> Offers(const std::vector<std::string>& words) {
    const testing::Finished shell = testing::RunProgram(Asking(words));
    EXPECT_EQ(shell.err, "");
    std::vector<std::string> offers = absl::StrSplit(shell.out, '\n', absl::SkipEmpty());
    for (std::string& offer : offers) offer = offer.substr(0, offer.find('\t'));  // fish describes each
    return offers;
  }

 private:
  std::vector<std::string> Asking(const std::vector<std::string>& words) const {
    const std::string shell = GetParam();
    if (shell == "bash") {
      std::vector<std::string> arguments{shell_, "-c", kAskBash, script_};
      arguments.insert(arguments.end(), words.begin(), words.end());
      return arguments;
    }
    std::string line = "diptych";
    for (const std::string& word : words) absl::StrAppend(&line, " ", absl::StrReplaceAll(word, {{" ", "\\ "}}));
    if (shell == "zsh") return {shell_, "-f", testing::RepositoryPath("tests/cli/zsh_offers.zsh"), script_, line};
    return {shell_, "--no-config", "-c", kAskFish, script_, line};
  }

  static constexpr char kShells[] = "/usr/bin/";
  static constexpr char kAskBash[] =
      "source \"$0\"; COMP_WORDS=(diptych \"$@\"); COMP_CWORD=$#; _diptych; printf '%s\\n' \"${COMPREPLY[@]}\"";
  static constexpr char kAskFish[] = "source $argv[1]; complete -C $argv[2]";
  std::string shell_, script_;
};

TEST_P(CompletionTest, OffersCommands) {
  EXPECT_THAT(Offers({"as"}), ElementsAre("ask"));
  EXPECT_THAT(Offers({"a"}), UnorderedElementsAre("ask", "analyze", "attention"));
  EXPECT_THAT(Offers({"bench", ""}), UnorderedElementsAre("cost", "load", "optimizations"));
  EXPECT_THAT(Offers({"--server", "a:1", "--json", "st"}), ElementsAre("status")) << "behind common flags";
  EXPECT_THAT(Offers({"--server", "ask", "st"}), ElementsAre("status")) << "behind a value that is a command's name";
  EXPECT_THAT(Offers({"completion", ""}), UnorderedElementsAre("bash", "zsh", "fish"));
}

TEST_P(CompletionTest, OffersFlagsOfTheCommand) {
  EXPECT_THAT(Offers({"ask", "--max_n"}), ElementsAre("--max_new_tokens"));
  EXPECT_THAT(Offers({"ask", "a.png", "--ques"}), ElementsAre("--question"));
  EXPECT_THAT(Offers({"ask", "bench", "--max_n"}), ElementsAre("--max_new_tokens")) << "an image may be called so";
  EXPECT_THAT(Offers({"bench", "load", "--conc"}), ElementsAre("--concurrency"));
  EXPECT_THAT(Offers({"ask", "--conc"}), IsEmpty());
  EXPECT_THAT(Offers({"--ver"}), ElementsAre("--version"));
  EXPECT_THAT(Offers({"--ser"}), ElementsAre("--server"));
}

TEST_P(CompletionTest, OffersValues) {
  EXPECT_THAT(Offers({"ask", "--color", ""}), UnorderedElementsAre("auto", "always", "never"));
  EXPECT_THAT(Offers({"ask", "--max_new_tokens", ""}), IsEmpty());
  WriteFile("a cat.png", "x");
  const std::string typed = std::filesystem::path(::testing::TempDir()) / "a ca";
  for (const std::vector<std::string>& before : {std::vector<std::string>{"ask"}, {"ask", "--image"}, {"chat", "-i"}}) {
    std::vector<std::string> words = before;
    words.push_back(typed);
    EXPECT_THAT(Offers(words), ElementsAre(EndsWith(" cat.png"))) << before.back();
  }
  EXPECT_THAT(Offers({"bench", "optimizations", "--model", typed}), IsEmpty()) << "no folder";
}

TEST_P(CompletionTest, OffersFoldersWhereAModelIsTaken) {
  const std::filesystem::path folder = ::testing::TempDir();
  std::filesystem::create_directories(folder / "model-a" / "inner");
  WriteFile("model-b", "x");
  const std::string typed = folder / "model-";
  for (const std::vector<std::string>& before : {std::vector<std::string>{"serve"},
                                                 {"quantize"},
                                                 {"quantize", "x"},
                                                 {"serve", "--log_folder"},
                                                 {"bench", "optimizations", "--model"}}) {
    std::vector<std::string> words = before;
    words.push_back(typed);
    EXPECT_THAT(Offers(words), ElementsAre(HasSubstr("model-a"))) << before.back();
  }
  std::filesystem::remove_all(folder / "model-a");
}

TEST_P(CompletionTest, OffersValuesBehindAnEqualsSign) {
  const bool apart = std::string(GetParam()) == "bash";  // which takes the word apart there
  EXPECT_THAT(Offers(apart ? std::vector<std::string>{"ask", "--color", "=", "al"}
                           : std::vector<std::string>{"ask", "--color=al"}),
              ElementsAre(EndsWith("always")));
  EXPECT_THAT(Offers(apart ? std::vector<std::string>{"--server", "=", "a:1", "st"}
                           : std::vector<std::string>{"--server=a:1", "st"}),
              ElementsAre("status"));
}

INSTANTIATE_TEST_SUITE_P(Shells, CompletionTest, ::testing::Values("bash", "zsh", "fish"),
                         [](const auto& shell) { return std::string(shell.param); });

// All long flags of a command, as --help lists them.
std::vector<std::string> FlagsIn(const std::string& help) {
  std::vector<std::string> flags;
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(help, absl::ByAnyChar(" ,\n")))) {
    if (word.size() > 2 && word.rfind("--", 0) == 0) flags.push_back(word);
  }
  return flags;
}

TEST_F(ShellTest, EveryFlagIsInHelpManPageAndCompletions) {
  const std::string man = Diptych({"man"}).out, bash = Diptych({"completion", "bash"}).out,
                    zsh = Diptych({"completion", "zsh"}).out, fish = Diptych({"completion", "fish"}).out;
  for (const char* command : {"ask", "chat", "analyze", "attention", "budget", "sweep", "models", "status", "doctor"}) {
    const std::vector<std::string> flags = FlagsIn(Diptych({command, "--help"}).out);
    EXPECT_THAT(flags, Contains("--server"));
    for (const std::string& flag : flags) {
      EXPECT_THAT(man, HasSubstr("\\-\\-" + flag.substr(2))) << command;
      EXPECT_THAT(bash, HasSubstr(flag)) << command;
      EXPECT_THAT(zsh, HasSubstr(flag)) << command;
      EXPECT_THAT(fish, HasSubstr(" -l " + flag.substr(2) + " ")) << command;
    }
  }
}

TEST_F(ShellTest, TheManPageIsOneThatManReads) {
  const std::string man = Diptych({"man"}).out;
  EXPECT_EQ(man.find(".TH DIPTYCH 1"), 0u);
  for (const char* section : {"NAME", "SYNOPSIS", "COMMANDS", "COMMON OPTIONS", "EXIT STATUS", "ENVIRONMENT"}) {
    EXPECT_THAT(man, HasSubstr(std::string(".SH ") + section)) << section;
  }
  if (!std::filesystem::exists("/usr/bin/groff")) GTEST_SKIP() << "no groff";
  const testing::Finished page = testing::RunProgram({"/usr/bin/groff", "-man", "-Tascii", "-z"}, man);
  EXPECT_EQ(page.err, "") << "warnings";
}

}  // namespace
}  // namespace diptych::cli
