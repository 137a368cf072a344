// A program on a terminal of its own, as a person has it.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

namespace diptych::testing {

// Thread-compatible.
class Terminal {
 public:
  // Starts argv[0] with standard input, output and error on a terminal of that width.
  Terminal(std::vector<std::string> argv, const std::vector<std::string>& environment, unsigned short columns = 80) {
    winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    std::vector<char*> pointers;
    for (std::string& argument : argv) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    pid_ = forkpty(&descriptor_, nullptr, nullptr, &size);
    if (pid_ != 0) return;
    setenv("TERM", "xterm", 1);
    for (const std::string& variable : environment) putenv(const_cast<char*>(variable.c_str()));
    execv(pointers[0], pointers.data());
    _exit(127);
  }
  ~Terminal() {
    if (pid_ > 0) kill(pid_, SIGKILL);
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
    close(descriptor_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void Type(const std::string& keys) { (void)!write(descriptor_, keys.data(), keys.size()); }
  // Waits until `text` was shown after what the last Await found; false if the program ends or half a minute passes.
  bool Await(const std::string& text) {
    for (const auto end = Patience(); std::chrono::steady_clock::now() < end;) {
      const size_t at = shown_.find(text, seen_);
      if (at != std::string::npos) {
        seen_ = at + text.size();
        return true;
      }
      if (!Read()) return shown_.find(text, seen_) != std::string::npos;
    }
    return false;
  }
  // Waits for its end: the exit code, or 128 + the signal that ended it. Killed after half a minute.
  int Wait() {
    const auto end = Patience();
    while (Read()) {
      if (std::chrono::steady_clock::now() > end) kill(pid_, SIGKILL);
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  // All that was shown so far, escape sequences included.
  const std::string& shown() const { return shown_; }

 private:
  static std::chrono::steady_clock::time_point Patience() {
    return std::chrono::steady_clock::now() + std::chrono::seconds(30);
  }
  bool Read() {
    pollfd waiting{.fd = descriptor_, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, 100) == 0) return true;
    char piece[4096];
    const ssize_t got = read(descriptor_, piece, sizeof(piece));
    if (got > 0) shown_.append(piece, got);
    return got > 0;
  }

  int descriptor_ = -1;
  pid_t pid_ = -1;
  std::string shown_;
  size_t seen_ = 0;
};

}  // namespace diptych::testing
