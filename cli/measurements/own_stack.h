// The three processes, started from the binaries beside this one.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace diptych::cli {

struct OwnStackOptions {
  std::string model;  // checkpoint folder
  std::string device = "cpu";
  std::string dtype = "float32";
  int threads = 0;  // of one operator; 0: one for each core
  std::vector<std::string> vision_flags = {};
  std::vector<std::string> language_flags = {};
};

// A server of this program's own. Its log is kept in memory for the case that it does not start. Thread-compatible.
class OwnServer {
 public:
  // Returns when it has said READY. An error with its last words if it ends before, or after ten minutes.
  static absl::StatusOr<std::unique_ptr<OwnServer>> Start(const std::string& binary, std::vector<std::string> flags);
  // Asks it to stop and waits; after ten seconds no longer asks.
  ~OwnServer();
  OwnServer(const OwnServer&) = delete;
  OwnServer& operator=(const OwnServer&) = delete;

  std::string address() const { return "127.0.0.1:" + port_; }
  // Processor time that it has taken so far, in all its threads; to a hundredth of a second.
  double ProcessorSeconds() const;

 private:
  OwnServer(pid_t pid, int out, int log) : pid_(pid), out_(out), log_(log) {}
  absl::Status WaitUntilReady(const std::string& binary);

  const pid_t pid_;
  const int out_, log_;  // descriptors: a pipe from its standard output, memory for its standard error
  std::string port_;
};

// On free ports, 127.0.0.1 only; gone with this object, also if SIGINT or SIGTERM ends this program.
class OwnStack {
 public:
  static absl::StatusOr<std::unique_ptr<OwnStack>> Start(const OwnStackOptions& options);

  std::string address() const { return gateway_->address(); }
  // Of the three together.
  double ProcessorSeconds() const;

 private:
  std::unique_ptr<OwnServer> vision_, language_, gateway_;  // the gateway goes first
};

}  // namespace diptych::cli
