// diptych serve: the three tiers as one command.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <thread>

#include "tests/end_to_end/stack.h"
#include "tests/testing/paths.h"

namespace diptych {
namespace {

namespace fs = std::filesystem;

// Waits up to a minute for what another process does.
bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 600; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return false;
}

// Processes whose parent is `parent`, by name.
std::multiset<std::pair<std::string, int>> ChildrenOf(int parent) {
  std::multiset<std::pair<std::string, int>> children;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream stat(entry.path() / "stat");
    int pid = 0, its_parent = 0;
    std::string name, state;
    if (stat >> pid >> name >> state >> its_parent && its_parent == parent) children.insert({name, pid});
  }
  return children;
}

class ServeTest : public ::testing::Test {
 protected:
  static std::vector<std::string> Command(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {testing::BinaryPath("diptych"), "serve"});
    return arguments;
  }

  // Where the READY table says that the gateway is.
  static std::string Address(const testing::ChildProcess& serve) {
    std::istringstream lines(serve.out());
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string tier, address;
      if (words >> tier >> address && tier == "gateway") return address;
    }
    return "";
  }

  static testing::Finished Ask(const testing::ChildProcess& serve) {
    return testing::RunProgram({testing::BinaryPath("diptych"), "ask", "--server", Address(serve), "--image",
                                testing::kDemoModel + "/samples/red_circle_blue_star.png", "--question",
                                "What color is the circle?"});
  }
};

TEST_F(ServeTest, ServesUntilItIsToldToStopAndLeavesNothingBehind) {
  testing::ChildProcess serve(Command({testing::kDemoModel, "--vision_replicas=2", "--", "--language.max_batch=4"}));
  ASSERT_TRUE(serve.WaitForOutput("Stop: Ctrl-C")) << serve.err();
  EXPECT_NE(Ask(serve).out.find("red"), std::string::npos) << serve.err();
  const auto children = ChildrenOf(serve.pid());
  EXPECT_EQ(children.size(), 4u);
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Wait(), 0) << serve.err();
  for (const auto& [name, pid] : children) EXPECT_NE(kill(pid, 0), 0) << name << " still runs";
}

TEST_F(ServeTest, ATierThatDiesIsStartedAgain) {
  testing::ChildProcess serve(Command({testing::kDemoModel, "--vision.max_batch=4"}));
  ASSERT_TRUE(serve.WaitForOutput("Stop: Ctrl-C")) << serve.err();
  for (const auto& [name, pid] : ChildrenOf(serve.pid())) {
    if (name == "(language_servic)") kill(pid, SIGKILL);
  }
  EXPECT_TRUE(Eventually([&] { return serve.err().find("language_service 0 is back") != std::string::npos; }))
      << serve.err();
  EXPECT_NE(serve.err().find("language_service 0 ended (signal 9)"), std::string::npos) << serve.err();
  EXPECT_TRUE(Eventually([&] { return Ask(serve).out.find("red") != std::string::npos; }));
}

TEST_F(ServeTest, ATierThatIsKilledWhileItStartsIsNamed) {
  testing::ChildProcess serve(Command({testing::kDemoModel}));
  while (serve.running()) {
    for (const auto& [name, pid] : ChildrenOf(serve.pid())) {
      if (name == "(vision_service)") kill(pid, SIGKILL);
    }
  }
  EXPECT_EQ(serve.Wait(), 1);
  EXPECT_NE(serve.err().find("vision_service 0 ended while it started (signal 9); the kernel"), std::string::npos)
      << serve.err();
}

TEST_F(ServeTest, OneThatIsStoppedBeforeItServesHasNotSucceeded) {
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, {SIGTERM, 143}, {SIGHUP, 129}}) {
    testing::ChildProcess serve(Command({testing::kDemoModel}));
    ASSERT_TRUE(Eventually([&] { return !ChildrenOf(serve.pid()).empty(); }));
    serve.Signal(signal);
    EXPECT_EQ(serve.Wait(), code) << serve.err();
    EXPECT_EQ(serve.out(), "");
  }
}

TEST_F(ServeTest, WhatItsParentIgnoresDoesNotEndIt) {
  testing::ChildProcess serve({"/bin/bash", "-c", "trap '' HUP INT; exec \"$0\" serve \"$1\"",
                               testing::BinaryPath("diptych"), testing::kDemoModel});
  ASSERT_TRUE(serve.WaitForOutput("Stop: Ctrl-C")) << serve.err();
  serve.Signal(SIGINT);
  EXPECT_NE(Ask(serve).out.find("red"), std::string::npos) << serve.err();
  serve.Signal(SIGHUP);
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Wait(), 0) << serve.err();
  EXPECT_EQ(serve.err().find("draining"), std::string::npos) << "it has taken Ctrl-C";
}

TEST_F(ServeTest, AModelThatDoesNotFitIsRefusedWithWhatWould) {
  const testing::Finished serve = testing::RunProgram(Command({testing::kDemoModel, "--language.memory_limit=16MiB"}));
  EXPECT_EQ(serve.exit_code, 1);
  EXPECT_NE(serve.err.find("language_service: the model does not fit: float32 needs"), std::string::npos) << serve.err;
  EXPECT_EQ(serve.out, "");
}

TEST_F(ServeTest, GoesOnAndDrainsWhenNobodyReadsWhatItSays) {
  testing::ChildProcess serve({"/bin/bash", "-c", "exec \"$0\" serve \"$1\" 2> >(exec true)",
                               testing::BinaryPath("diptych"), testing::kDemoModel});
  ASSERT_TRUE(serve.WaitForOutput("Stop: Ctrl-C"));
  for (const auto& [name, pid] : ChildrenOf(serve.pid())) {
    if (name == "(language_servic)") kill(pid, SIGKILL);
  }
  EXPECT_TRUE(Eventually([&] { return Ask(serve).out.find("red") != std::string::npos; }));
  serve.Signal(SIGINT);
  EXPECT_EQ(serve.Wait(), 0);
}

TEST_F(ServeTest, EndsWithItsParentEvenWhenThatIsKilled) {
  testing::ChildProcess serve(Command({testing::kDemoModel}));
  ASSERT_TRUE(serve.WaitForOutput("Stop: Ctrl-C")) << serve.err();
  const auto children = ChildrenOf(serve.pid());
  serve.Signal(SIGKILL);
  serve.Wait();
  for (const auto& [name, pid] : children) {
    EXPECT_TRUE(Eventually([pid = pid] { return kill(pid, 0) != 0; })) << name << " still runs";
  }
}

TEST_F(ServeTest, ATierThatCannotStartSaysWhyInItsOwnWords) {
  const fs::path folder = fs::temp_directory_path() / ("diptych_serve_test_" + std::to_string(getpid()));
  fs::copy(testing::kDemoModel, folder);
  fs::resize_file(folder / "model.safetensors", 1000);
  const testing::Finished serve = testing::RunProgram(Command({folder.string()}));
  fs::remove_all(folder);
  EXPECT_EQ(serve.exit_code, 1);
  EXPECT_NE(serve.err.find("vision_service: model.safetensors"), std::string::npos) << serve.err;
  EXPECT_EQ(serve.out, "");
}

TEST_F(ServeTest, ATierThatRefusesItsFlagEndsAllAndLeavesNothingBehind) {
  testing::ChildProcess serve(Command({testing::kDemoModel, "--language.max_batch=-1"}));
  std::multiset<std::pair<std::string, int>> children;
  while (serve.running()) {
    children.merge(ChildrenOf(serve.pid()));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(serve.Wait(), 1);
  EXPECT_NE(serve.err().find("max_batch"), std::string::npos) << serve.err();
  EXPECT_FALSE(children.empty());
  for (const auto& [name, pid] : children) EXPECT_NE(kill(pid, 0), 0) << name << " still runs";
}

TEST_F(ServeTest, AMissingFolderSaysWhatWasLookedFor) {
  const testing::Finished serve = testing::RunProgram(Command({"/no/such/folder"}));
  EXPECT_EQ(serve.exit_code, 1);
  EXPECT_NE(serve.err.find("there is no folder /no/such/folder"), std::string::npos) << serve.err;
}

TEST_F(ServeTest, ASecondStackRunsBesideTheFirstWithPortsAndLogsOfItsOwn) {
  const std::string logs = (fs::temp_directory_path() / ("diptych_serve_logs_" + std::to_string(getpid()))).string();
  testing::ChildProcess first(Command({testing::kDemoModel, "--log_folder", logs}));
  ASSERT_TRUE(first.WaitForOutput("Logs:  " + logs + "/")) << first.err();
  testing::ChildProcess second(Command({testing::kDemoModel, "--log_folder", logs}));
  ASSERT_TRUE(second.WaitForOutput("Logs:  " + logs + "-2/")) << second.err();
  EXPECT_NE(Address(first), Address(second));
  for (const auto* serve : {&first, &second}) EXPECT_NE(Ask(*serve).out.find("red"), std::string::npos);
  for (const std::string& folder : {logs, logs + "-2"}) {
    EXPECT_GT(fs::file_size(folder + "/language_service.0.log"), 0u) << folder;
  }
  first.Signal(SIGTERM);
  EXPECT_EQ(first.Wait(), 0);
  EXPECT_NE(Ask(second).out.find("red"), std::string::npos) << "the second does not end with the first";
  second.Signal(SIGTERM);
  EXPECT_EQ(second.Wait(), 0);
  for (const std::string& folder : {logs, logs + "-2"}) fs::remove_all(folder);
}

TEST_F(ServeTest, StacksThatStartAtTheSameMomentDoNotTakeEachOthersPorts) {
  std::vector<std::unique_ptr<testing::ChildProcess>> stacks;
  for (int i = 0; i < 3; ++i) {
    stacks.push_back(std::make_unique<testing::ChildProcess>(Command({testing::kDemoModel})));
  }
  std::set<std::string> addresses;
  for (const auto& serve : stacks) {
    ASSERT_TRUE(serve->WaitForOutput("Stop: Ctrl-C")) << serve->err();
    addresses.insert(Address(*serve));
  }
  EXPECT_EQ(addresses.size(), stacks.size());
  for (const auto& serve : stacks) {
    serve->Signal(SIGTERM);
    EXPECT_EQ(serve->Wait(), 0) << serve->err();
  }
}

TEST_F(ServeTest, ItsTemporaryLogsAreForItsOwnerAlone) {
  testing::ChildProcess serve(Command({testing::kDemoModel}));
  ASSERT_TRUE(serve.WaitForOutput("Stop: Ctrl-C")) << serve.err();
  const std::string out = serve.out(), mark = "Logs:  ";
  const size_t begin = out.find(mark) + mark.size();
  const fs::path logs = out.substr(begin, out.find("/ ", begin) - begin);
  EXPECT_EQ(fs::status(logs).permissions(), fs::perms::owner_all) << logs;
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Wait(), 0) << serve.err();
  EXPECT_FALSE(fs::exists(logs)) << "they end with it";
}

TEST_F(ServeTest, ATierThatDoesNotEndIsNamedWhileItIsWaitedFor) {
  testing::ChildProcess serve(Command({testing::kDemoModel}));
  ASSERT_TRUE(serve.WaitForOutput("Stop: Ctrl-C")) << serve.err();
  int stopped = 0;
  for (const auto& [name, pid] : ChildrenOf(serve.pid())) {
    if (name == "(language_servic)") kill(stopped = pid, SIGSTOP);
  }
  serve.Signal(SIGTERM);
  EXPECT_TRUE(Eventually([&] { return serve.err().find("language_service 0 has not ended yet") != std::string::npos; }))
      << serve.err();
  kill(stopped, SIGCONT);
  EXPECT_EQ(serve.Wait(), 0) << serve.err();
}

TEST_F(ServeTest, ATierThatStandsStillIsWaitedForAsLongAsItLetsCallsEnd) {
  testing::ChildProcess serve(Command({testing::kDemoModel, "--", "--language.drain_timeout=1s"}));
  ASSERT_TRUE(serve.WaitForOutput("Stop: Ctrl-C")) << serve.err();
  int stopped = 0;
  for (const auto& [name, pid] : ChildrenOf(serve.pid())) {
    if (name == "(language_servic)") kill(stopped = pid, SIGSTOP);
  }
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Wait(), 0) << serve.err();
  EXPECT_NE(serve.err().find("language_service 0 has not ended yet (10 s); it is killed after 11 s"), std::string::npos)
      << serve.err();
  EXPECT_NE(kill(stopped, 0), 0) << "it still runs";
}

TEST_F(ServeTest, WhatIsAskedWhenItIsToldToStopIsStillAnswered) {
  testing::ChildProcess serve(Command({testing::kDemoModel}));
  ASSERT_TRUE(serve.WaitForOutput("Stop: Ctrl-C")) << serve.err();
  testing::ChildProcess ask({testing::BinaryPath("diptych"), "ask", "--server", Address(serve), "--stream",
                             "--max_new_tokens=120", "--min_new_tokens=120", "--prompt", "a"});
  ASSERT_TRUE(Eventually([&] { return !ask.out().empty(); })) << ask.err();
  serve.Signal(SIGTERM);
  EXPECT_EQ(ask.Wait(), 0) << ask.err();
  EXPECT_EQ(serve.Wait(), 0) << serve.err();
}

TEST_F(ServeTest, AFlagOfNoTierIsRefused) {
  const testing::Finished serve = testing::RunProgram(Command({testing::kDemoModel, "--", "--max_batch=4"}));
  EXPECT_EQ(serve.exit_code, 2);
  EXPECT_NE(serve.err.find("--vision.NAME=VALUE"), std::string::npos) << serve.err;
  const testing::Finished two = testing::RunProgram(Command({testing::kDemoModel, "another"}));
  EXPECT_EQ(two.exit_code, 2);
  EXPECT_NE(two.err.find("serve takes one model; \"another\" is another"), std::string::npos) << two.err;
}

TEST_F(ServeTest, AnAddressOfATierIsRefusedWithTheFlagsThatChooseIt) {
  for (const char* flag : {"--gateway.listen=127.0.0.1:0", "--gateway.http_listen=127.0.0.1:0", "--vision.listen=:1"}) {
    const testing::Finished serve = testing::RunProgram(Command({testing::kDemoModel, "--", flag}));
    EXPECT_EQ(serve.exit_code, 2) << flag;
    EXPECT_NE(serve.err.find("--http_port"), std::string::npos) << serve.err;
  }
}

TEST_F(ServeTest, APortThatIsTakenIsNamedWithItsFlag) {
  const int taken = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(taken, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(taken, 1), 0);
  getsockname(taken, reinterpret_cast<sockaddr*>(&address), &size);
  const std::string port = std::to_string(ntohs(address.sin_port));
  const testing::Finished serve = testing::RunProgram(Command({testing::kDemoModel, "--port", port}));
  close(taken);
  EXPECT_EQ(serve.exit_code, 1);
  EXPECT_NE(serve.err.find("port " + port), std::string::npos) << serve.err;
  EXPECT_NE(serve.err.find("--port"), std::string::npos) << serve.err;
}

// The lines of /proc/PID/environ of a vision tier that was started with this change of the environment, once it is
// ready.
std::set<std::string> EnvironmentOfATier(const std::string& change) {
  testing::ChildProcess tier({"/usr/bin/env", "-u", "GOMP_SPINCOUNT", change, testing::BinaryPath("vision_service"),
                              "--model=" + testing::kDemoModel, "--listen=127.0.0.1:0", "--metrics_listen="});
  EXPECT_TRUE(tier.WaitForOutput("READY")) << tier.err();
  const fs::path proc = fs::path("/proc") / std::to_string(tier.pid());
  std::string name;
  std::getline(std::ifstream(proc / "comm"), name);
  EXPECT_EQ(name, "vision_service");
  std::ifstream file(proc / "environ");
  std::set<std::string> variables;
  for (std::string variable; std::getline(file, variable, '\0');) variables.insert(variable);
  tier.Signal(SIGTERM);
  EXPECT_EQ(tier.Wait(), 0) << tier.err();
  return variables;
}

TEST(TierProcessTest, ItsThreadsWaitForWorkBrieflyUnlessTheUserSaysOtherwise) {
  EXPECT_TRUE(EnvironmentOfATier("A=1").contains("GOMP_SPINCOUNT=2000"));
  EXPECT_FALSE(EnvironmentOfATier("OMP_WAIT_POLICY=active").contains("GOMP_SPINCOUNT=2000"));
}

}  // namespace
}  // namespace diptych
