// Accepts the connections of a gRPC server; gRPC's own listener would stop for good once descriptors ran out.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"

namespace diptych {

// Listens on all addresses of a host. Has a thread of its own. Thread-safe.
class ConnectionAcceptor {
 public:
  // Takes over the descriptor of a connection, non-blocking.
  using Accepted = std::function<void(int descriptor)>;

  // "host:port"; port 0 picks a free one; 0.0.0.0 and [::] both stand for all addresses of both families. Connections
  // wait until Start. INVALID_ARGUMENT if there is no such host or the port is in use.
  static absl::StatusOr<std::unique_ptr<ConnectionAcceptor>> Listen(const std::string& address);
  ~ConnectionAcceptor();

  // Once. `accepted` is called on the thread. Connections over five eighths of the descriptors that the process may
  // have are closed at once: what is left is for files and for connections to others.
  void Start(Accepted accepted);
  // Listens no more; `accepted` is called no more after it has returned. Idempotent.
  void Stop();
  // Closes the connections that were accepted, whoever owns them now: what was sent arrives, what has come is not read.
  // Call after Stop.
  void EndConnections() const;

  int port() const { return port_; }

 private:
  ConnectionAcceptor() = default;
  void Run();
  void AcceptOn(int listener);

  std::vector<int> listeners_;
  int port_ = 0;
  int stop_ = -1;  // eventfd, readable once the thread is to end
  int most_descriptors_ = 0;
  Accepted accepted_;
  std::thread thread_;
};

// Resets the connection of this process whose other end is `peer`, "ipv4:192.0.2.1:50000" or
// "ipv6:%5B2001:db8::1%5D:50000" as gRPC names it; what has come over it and is not read yet is lost. Does nothing if
// there is none.
void ResetConnection(const std::string& peer);

}  // namespace diptych
