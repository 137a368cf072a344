// Real binaries under test: started, fed, watched and ended.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace diptych::testing {

// One child process. Its standard output and error go to files of their own. Thread-compatible.
class ChildProcess {
 public:
  // Starts argv[0] with the arguments; `input` becomes its standard input; `environment` ("NAME=value") is
  // added to ours. Ends the test binary if that fails.
  explicit ChildProcess(const std::vector<std::string>& argv, const std::string& input = "",
                        const std::vector<std::string>& environment = {});
  // Kills it if it still runs.
  ~ChildProcess();

  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void Signal(int signal);
  // Waits for its end: the exit code, or 128 + the signal that ended it.
  int Wait();
  bool running();
  int pid() const { return pid_; }

  // What it has written so far.
  std::string out() const;
  std::string err() const;
  // Waits until standard output holds `text`; false if the process ends or a minute passes first.
  bool WaitForOutput(const std::string& text);

 private:
  std::string out_file_, err_file_, in_file_;
  pid_t pid_ = -1;
  int exit_code_ = -1;
  bool ended_ = false;
};

struct Finished {
  int exit_code;
  std::string out, err;
};

// Runs a program to its end.
Finished RunProgram(const std::vector<std::string>& argv, const std::string& input = "",
                    const std::vector<std::string>& environment = {});

}  // namespace diptych::testing
