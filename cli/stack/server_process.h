// One of the three servers, as a child of this program.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace diptych::cli {

struct ServerCommand {
  std::string binary;              // its name; it lies next to this program's own
  std::vector<std::string> flags;  // "--name=value"
  std::string log_file = {};       // appended to; empty: kept in memory for LastWords
  bool inherit_flags = false;      // keeps DIPTYCH_… variables, which set flags
};

// Ends with this program, however that ends. Thread-compatible; Start and the destructor on one thread.
class ServerProcess {
 public:
  // Starts it and returns at once. FAILED_PRECONDITION if the binary or the log file cannot be opened.
  static absl::StatusOr<std::unique_ptr<ServerProcess>> Start(const ServerCommand& command);
  // Stop, and no longer than ten seconds; then kills it.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  enum class State { kLoading, kReady, kEnded };
  // Waits at most `patience` for a state other than kLoading, or kReady, if that is what it was.
  State Wait(absl::Duration patience);
  // Asks it to drain and end.
  void Stop();
  // Ends it at once.
  void Kill();
  // Waits at most `patience`; true if it has ended.
  bool WaitForEnd(absl::Duration patience);

  // The content of its READY line: tier, port, model, device, dtype, metrics_port, drain. Empty before.
  std::string Ready(const std::string& name) const;
  // The last line that it has logged, and how it ended ("signal 9", "exit status 1"); empty while it runs.
  std::string LastWords() const;
  std::string HowItEnded() const;
  // Processor time that it has taken so far, in all its threads; to a hundredth of a second.
  double ProcessorSeconds() const;

 private:
  ServerProcess(pid_t pid, int out, int log, off_t log_begin)
      : pid_(pid), out_(out), log_(log), log_begin_(log_begin) {}
  // Reads what its standard output holds.
  void ReadOutput();
  bool HasEnded();

  const pid_t pid_;
  const int out_, log_;    // descriptors: a pipe from its standard output; its standard error
  const off_t log_begin_;  // where its own words begin in a log that has earlier ones
  std::string said_;
  std::map<std::string, std::string> ready_;
  std::optional<int> status_;  // as waitpid gives it, once it has ended
};

}  // namespace diptych::cli
