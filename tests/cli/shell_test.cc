// What shells and man are told: completions, driven in bash, and the manual page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_split.h"
#include "tests/cli/cli_fixture.h"

namespace diptych::cli {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class ShellTest : public CliFixture {
 protected:
  // What bash offers behind these words, the last of which is being typed.
  static std::vector<std::string> Offers(std::vector<std::string> words) {
    const std::string script =
        "source <(\"$0\" completion bash); COMP_WORDS=(diptych \"$@\"); COMP_CWORD=$#; _diptych; printf '%s\\n' "
        "\"${COMPREPLY[@]}\"";
    std::vector<std::string> arguments{"/bin/bash", "-c", script, testing::BinaryPath("diptych")};
    arguments.insert(arguments.end(), words.begin(), words.end());
    const testing::Finished bash = testing::RunProgram(arguments);
    EXPECT_EQ(bash.err, "");
    return absl::StrSplit(bash.out, '\n', absl::SkipEmpty());
  }
};

TEST_F(ShellTest, BashCompletesCommands) {
  EXPECT_THAT(Offers({"a"}), UnorderedElementsAre("ask", "analyze", "attention"));
  EXPECT_THAT(Offers({"bench", ""}), UnorderedElementsAre("cost", "load", "optimizations"));
  EXPECT_THAT(Offers({"--server", "a:1", "--json", "st"}), ElementsAre("status")) << "behind common flags";
  EXPECT_THAT(Offers({"--server", "=", "a:1", "st"}), ElementsAre("status"));
  EXPECT_THAT(Offers({"completion", ""}), UnorderedElementsAre("bash", "zsh", "fish"));
}

TEST_F(ShellTest, BashCompletesFlagsOfTheCommand) {
  EXPECT_THAT(Offers({"ask", "--max_n"}), ElementsAre("--max_new_tokens"));
  EXPECT_THAT(Offers({"ask", "a.png", "--ques"}), ElementsAre("--question"));
  EXPECT_THAT(Offers({"bench", "load", "--conc"}), ElementsAre("--concurrency"));
  EXPECT_THAT(Offers({"ask", "--conc"}), IsEmpty());
  EXPECT_THAT(Offers({"--ver"}), ElementsAre("--version"));
  EXPECT_THAT(Offers({"--ser"}), ElementsAre("--server"));
}

TEST_F(ShellTest, BashCompletesValues) {
  EXPECT_THAT(Offers({"ask", "--color", ""}), UnorderedElementsAre("auto", "always", "never"));
  EXPECT_THAT(Offers({"ask", "--color", "=", "al"}), ElementsAre("always"));
  EXPECT_THAT(Offers({"ask", "--max_new_tokens", ""}), IsEmpty());
  const std::string image = WriteFile("a cat.png", "x");
  for (const std::vector<std::string>& before : {std::vector<std::string>{"ask"}, {"ask", "--image"}, {"chat", "-i"}}) {
    std::vector<std::string> words = before;
    words.push_back(::testing::TempDir() + "/a ca");
    EXPECT_THAT(Offers(words), ElementsAre(image)) << before.back();
  }
  EXPECT_THAT(Offers({"bench", "optimizations", "--model", ::testing::TempDir() + "/a ca"}), IsEmpty()) << "no folder";
}

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

TEST_F(ShellTest, OtherShellsReadTheirScripts) {
  int read = 0;
  for (const char* shell : {"zsh", "fish"}) {
    const std::string binary = std::string("/usr/bin/") + shell;
    if (!std::filesystem::exists(binary)) continue;
    const std::string file = WriteFile(std::string("completion.") + shell, Diptych({"completion", shell}).out);
    const testing::Finished checked = testing::RunProgram({binary, "-n", file});
    EXPECT_EQ(checked.exit_code, 0) << shell << checked.err;
    ++read;
  }
  if (read == 0) GTEST_SKIP() << "neither zsh nor fish";
}

}  // namespace
}  // namespace diptych::cli
