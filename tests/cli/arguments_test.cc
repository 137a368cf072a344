#include "cli/command_line/arguments.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/commands/commands.h"
#include "common/text/nearest_word.h"

namespace diptych::cli {
namespace {

class ArgumentsTest : public ::testing::Test {
 protected:
  ArgumentsTest() {
    AddAsk(app_, run_);
    AddBench(app_, run_);
    AddPull(app_, run_);
    AddServe(app_, run_);
    AddStatus(app_, run_);
    AddSweep(app_, run_);
  }

  // The result, or the message.
  std::string Arrange(const std::vector<std::string>& typed) {
    const auto arranged = ArrangeArguments(app_, typed);
    return arranged.ok() ? absl::StrJoin(*arranged, "|") : std::string(arranged.status().message());
  }
  std::string ArrangeWords(const std::string& typed) { return Arrange(absl::StrSplit(typed, ' ')); }

  CLI::App app_{"", "diptych"};
  diptych::cli::Run run_;
};

TEST_F(ArgumentsTest, DashesAndUnderscoresAreAlike) {
  EXPECT_EQ(ArrangeWords("ask --max-new-tokens 5"), "ask|--max_new_tokens|5");
  EXPECT_EQ(ArrangeWords("ask --max_new-tokens=5"), "ask|--max_new_tokens|5");
  EXPECT_EQ(ArrangeWords("ask --return-relevance"), "ask|--return_relevance");
  EXPECT_EQ(Arrange({"ask", "-q", "--max-new-tokens"}), "ask|-q|--max-new-tokens") << "a value stays as it is";
}

TEST_F(ArgumentsTest, CommonFlagsMayStandBeforeTheCommand) {
  EXPECT_EQ(ArrangeWords("--server a:1 --json ask -q x"), "ask|--server|a:1|--json|-q|x");
  EXPECT_EQ(ArrangeWords("-s a:1 bench --json load"), "bench|load|-s|a:1|--json");
  EXPECT_EQ(ArrangeWords("--tls-ca=ca.pem status"), "status|--tls_ca|ca.pem");
  EXPECT_EQ(ArrangeWords("--server ask status"), "status|--server|ask") << "a value that looks like a command";
}

TEST_F(ArgumentsTest, BareArgumentsAreImages) {
  EXPECT_EQ(ArrangeWords("ask a.png b.png -q x"), "ask|--image|a.png|--image|b.png|-q|x");
  EXPECT_EQ(ArrangeWords("ask -i a.png b.png"), "ask|-i|a.png|-i|b.png");
  EXPECT_EQ(ArrangeWords("sweep a.png --sizes 1,2"), "sweep|--image|a.png|--sizes|1,2");
  EXPECT_EQ(ArrangeWords("ask -- -a.png"), "ask|--image|-a.png");
  EXPECT_EQ(ArrangeWords("ask -"), "ask|--image|-");
  EXPECT_EQ(ArrangeWords("status now"), "status takes no argument \"now\"");
  EXPECT_EQ(ArrangeWords("pull a/b c/d"), "pull takes 1 argument; \"c/d\" is another");
  EXPECT_EQ(ArrangeWords("sweep a.png b.png"), "sweep takes one image; \"b.png\" is another");
  EXPECT_EQ(ArrangeWords("sweep -i a.png b.png"), "sweep takes one image; \"b.png\" is another");
  EXPECT_EQ(ArrangeWords("bench cost a.png b.png"), "bench cost takes one image; \"b.png\" is another");
}

TEST_F(ArgumentsTest, AQuestionIsFollowedByQuestionsOrImages) {
  const std::string file = ::testing::TempDir() + "/arguments_test.png";
  std::ofstream(file) << "x";
  EXPECT_EQ(Arrange({"ask", "-q", "one?", "two?", file}), "ask|-q|one?|-q|two?|--image|" + file);
  EXPECT_EQ(Arrange({"ask", "-q", "one?", "https://a/b.png", "-"}), "ask|-q|one?|--image|https://a/b.png|--image|-");
  EXPECT_EQ(Arrange({"ask", "-q", file}), "ask|-q|" + file) << "the first is what it is said to be";
  std::remove(file.c_str());
}

TEST_F(ArgumentsTest, AnImageThatIsNotThereIsNoQuestion) {
  for (const char* image : {"no.jpg", "no/such/NO.JPEG", "./here", "/tmp", "~/x", "http://a/b", "file:///a"}) {
    EXPECT_EQ(ArrangeWords(absl::StrCat("ask -q Why? ", image)), absl::StrCat("ask|-q|Why?|--image|", image));
  }
  for (const char* question : {"either/or?", "Why", "a.b", "Is it a.png or not?", "And .png? Yes"}) {
    EXPECT_EQ(Arrange({"ask", "-q", "Why?", question}), absl::StrCat("ask|-q|Why?|-q|", question));
  }
}

TEST_F(ArgumentsTest, AFileWhoseNameLooksLikeAFlagIsToldFromOne) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(::testing::TempDir());
  for (const char* file : {"-arguments test.png", "--arguments_test.png"}) {
    std::ofstream(file) << "x";
    const std::string refused = absl::StrCat("ask has no flag ", file, "; for the file of that name write ./", file);
    EXPECT_EQ(Arrange({"ask", file}), refused);
    EXPECT_EQ(Arrange({"ask", absl::StrCat("./", file)}), absl::StrCat("ask|--image|./", file));
    EXPECT_EQ(Arrange({"ask", "--", file}), absl::StrCat("ask|--image|", file));
    std::remove(file);
  }
  std::filesystem::current_path(before);
}

TEST_F(ArgumentsTest, ValuesStayAsTheyAre) {
  EXPECT_EQ(Arrange({"ask", "--question="}), "ask|--question|");
  EXPECT_EQ(Arrange({"ask", "-q", "-x", "--prompt=a=b"}), "ask|-q|-x|--prompt|a=b");
  EXPECT_EQ(Arrange({"ask", "-n5", "--length_penalty", "-1"}), "ask|-n|5|--length_penalty|-1");
  EXPECT_EQ(Arrange({"ask", "-n=5", "-q==?", "-t="}), "ask|-n|5|-q|=?|-t|");
}

TEST_F(ArgumentsTest, SaysWhatWasProbablyMeant) {
  EXPECT_EQ(ArrangeWords("aks"), "there is no command aks; did you mean ask?");
  EXPECT_EQ(ArrangeWords("bench laod"), "there is no command bench laod; did you mean load?");
  EXPECT_EQ(ArrangeWords("ask --imgae a"), "ask has no flag --imgae; did you mean --image?");
  EXPECT_EQ(ArrangeWords("ask --max-tokens 3"), "ask has no flag --max-tokens; did you mean --max_new_tokens?");
  EXPECT_EQ(ArrangeWords("ASK a"), "there is no command ASK; did you mean ask?");
  EXPECT_EQ(ArrangeWords("benxh"), "there is no command benxh; did you mean bench?");
  for (const char* far : {"ask --nope", "bench load --duration 5", "status --tools", "snake"}) {
    EXPECT_NE(ArrangeWords(far).find("lists what there is"), std::string::npos) << ArrangeWords(far);
  }
  EXPECT_EQ(ArrangeWords("serve --max_batch=9"),
            "serve has no flag --max_batch; one of a process is given as --vision.max_batch, --language.max_batch or "
            "--gateway.max_batch");
  EXPECT_EQ(ArrangeWords("--sever x ask"), "there is no flag --sever; did you mean --server?");
  EXPECT_EQ(ArrangeWords("ask --zzzzzzzz"), "ask has no flag --zzzzzzzz; `diptych ask --help` lists what there is");
  EXPECT_EQ(ArrangeWords("hlep"), "there is no command hlep; did you mean help?");
  EXPECT_EQ(ArrangeWords("version"), "there is no command version; did you mean --version?");
  EXPECT_EQ(ArrangeWords("sing"), "there is no command sing; `diptych --help` lists what there is");
  EXPECT_EQ(ArrangeWords("ask --server").substr(0, 28), "--server takes a value: Gate");
}

TEST(NearestWordTest, FindsSlipsAndBeginningsOnly) {
  const std::vector<std::string> words{"ask", "analyze", "attention", "status", "models"};
  EXPECT_EQ(NearestWord("stauts", words), "status");
  EXPECT_EQ(NearestWord("anal", words), "analyze");
  EXPECT_EQ(NearestWord("model", words), "models");
  EXPECT_EQ(NearestWord("", words), "");
  EXPECT_EQ(NearestWord("train", words), "");
  EXPECT_EQ(NearestWord(std::string(100'000, 'a'), words), "");
}

}  // namespace
}  // namespace diptych::cli
