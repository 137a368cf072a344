#include "tests/testing/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

extern char** environ;

namespace diptych::testing {
namespace {

std::string ReadWhole(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& argv, const std::string& input,
                           const std::vector<std::string>& environment) {
  static std::atomic<int> number = 0;
  std::ostringstream stem;
  stem << std::filesystem::temp_directory_path().string() << "/diptych_test_" << getpid() << "_" << ++number;
  out_file_ = stem.str() + ".out";
  err_file_ = stem.str() + ".err";
  in_file_ = stem.str() + ".in";
  std::ofstream(in_file_, std::ios::binary) << input;

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, in_file_.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out_file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err_file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  std::vector<std::string> arguments = argv, variables = environment;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  const int error =
      posix_spawn(&pid_, argv[0].c_str(), &actions, nullptr, Pointers(arguments).data(), Pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    std::fprintf(stderr, "cannot start %s: error %d\n", argv[0].c_str(), error);
    std::abort();
  }
}

ChildProcess::~ChildProcess() {
  if (!ended_) {
    Signal(SIGKILL);
    Wait();
  }
  for (const std::string& file : {out_file_, err_file_, in_file_}) std::filesystem::remove(file);
}

void ChildProcess::Signal(int signal) {
  if (!ended_) kill(pid_, signal);
}

int ChildProcess::Wait() {
  if (ended_) return exit_code_;
  int status = 0;
  waitpid(pid_, &status, 0);
  ended_ = true;
  return exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool ChildProcess::running() {
  int status = 0;
  if (ended_ || waitpid(pid_, &status, WNOHANG) == 0) return !ended_;
  ended_ = true;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return false;
}

std::string ChildProcess::out() const {
  return ReadWhole(out_file_);
}
std::string ChildProcess::err() const {
  return ReadWhole(err_file_);
}

bool ChildProcess::WaitForOutput(const std::string& text) {
  const auto patience = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::chrono::steady_clock::now() < patience) {
    if (out().find(text) != std::string::npos) return true;
    if (!running()) return out().find(text) != std::string::npos;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // another process's file cannot be waited on portably
  }
  return false;
}

Finished RunProgram(const std::vector<std::string>& argv, const std::string& input,
                    const std::vector<std::string>& environment) {
  ChildProcess child(argv, input, environment);
  const int exit_code = child.Wait();
  return {exit_code, child.out(), child.err()};
}

}  // namespace diptych::testing
