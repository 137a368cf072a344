// Runs gateway and tiers as processes on this host: starts, restarts and drains them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cli/stack/server_process.h"
#include "common/steady_clock.h"

namespace diptych::cli {

struct StackOptions {
  std::string model;   // what the tiers take as --model
  std::string device;  // empty: the tiers' default
  std::string dtype;   // empty: the tiers' default
  int vision_replicas = 1;
  int language_replicas = 1;
  std::string host = "127.0.0.1";  // of the gateway; the tiers stay on 127.0.0.1
  int port = 0;                    // of the gateway's gRPC; 0: 7000, or another if that is taken
  int http_port = 0;               // of its HTTP; 0: 8080, or another if that is taken
  bool any_ports = false;          // all ports are any free ones, and nothing else is listened on: no HTTP, no metrics
  bool inherit_flags = true;       // DIPTYCH_… variables set flags of the servers
  std::string log_folder;          // empty: logs stay in memory, for the message when a server cannot start
  // Flags of the tiers' own, "--name=value".
  std::vector<std::string> vision_flags = {}, language_flags = {}, gateway_flags = {};
};

// Confined to one thread.
class Stack {
 public:
  // `say` gets lines for the user. `stopped` is asked ten times a second; true ends any wait.
  explicit Stack(
      StackOptions options, std::function<void(const std::string&)> say = [](const std::string&) {},
      std::function<bool()> stopped = [] { return false; });
  // Drains.
  ~Stack() { Drain(); }

  // Starts everything, tiers before those that call them, and waits until all are ready. FAILED_PRECONDITION with the
  // server's own words if one cannot start, or if a port that was asked for is taken; CANCELLED if `stopped` says so.
  absl::Status Start();
  // Restarts servers that end, after 1 s, then 2, 4 … 30. Returns when `stopped` is true.
  void KeepRunning();
  // Ends the gateway, then the language and the vision replicas; each first answers what it has. At once if `stopped`
  // is true. Idempotent.
  void Drain();

  struct Row {
    std::string tier, address, metrics, model, dtype, device;
  };
  // One for each server that runs, from its READY line.
  std::vector<Row> Rows() const;
  // Processor time of all servers that run, together, in seconds.
  double ProcessorSeconds() const;
  const std::string& grpc_address() const { return grpc_address_; }
  const std::string& http_address() const { return http_address_; }

 private:
  struct Part {
    std::string name;  // "vision_service 0"
    ServerCommand command;
    std::string address;
    std::unique_ptr<ServerProcess> process = nullptr;
    SteadyTime started = {};
    SteadyTime next_start = SteadyTime::max();
    absl::Duration backoff = absl::ZeroDuration();
    bool announced = true;
  };

  using Say = std::function<void(const std::string&)>;
  // A server's listeners: a flag and its address each, that of gRPC first; an empty address: none.
  using Listens = std::vector<std::pair<std::string, std::string>>;

  // Free addresses, where nothing else is asked for: the gateway's, and those of a tier that would like `port`.
  absl::StatusOr<Listens> GatewayListens(const Say& say) const;
  absl::StatusOr<Listens> TierListens(int port) const;
  // Starts a server where `choose` says, and waits until it is ready. Where another process takes such an address
  // before the server has it, asks `choose` again.
  absl::StatusOr<Listens> Add(const std::string& binary, int number,
                              const std::function<absl::StatusOr<Listens>()>& choose,
                              const std::vector<std::string>& flags);
  absl::Status Run(const std::string& binary, int number, const Listens& listens,
                   const std::vector<std::string>& flags);
  absl::Status AddTiers(const std::string& binary, int first_port, int replicas, const std::vector<std::string>& flags,
                        std::string& target);
  absl::Status WaitUntilReady(Part& part);
  static std::string WhyItCannotStart(const Part& part);
  void Drain(Part& part);
  // Restarts the server if it has ended and its pause is over.
  void Look(Part& part);

  const StackOptions options_;
  const Say say_;
  const std::function<bool()> stopped_;
  std::vector<Part> parts_;  // in the order of their start
  std::string grpc_address_, http_address_;
};

}  // namespace diptych::cli
