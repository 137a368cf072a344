// How many calls each connection of a server has, and the end of connections that have far too many.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "common/containers/named_counts.h"

namespace diptych {

// Limits of one connection, as HTTP/2's settings tell its caller.
inline constexpr int kMaxConnectionCalls = 1024;
inline constexpr size_t kMaxMetadataBytes = 16 << 10;

// gRPC 1.51 enforces those settings only once the caller has acknowledged them, so a caller that never does has no
// bound. Here calls are counted, and a connection is reset once it has twice as many as it may (a caller may cancel all
// and begin as many before the first have ended), or a call with four times the metadata. Thread-safe.
class ConnectionCalls {
 public:
  // Resets the connection of a peer, "ipv4:192.0.2.1:50000" as gRPC names it.
  using Reset = std::function<void(const std::string& peer)>;
  explicit ConnectionCalls(Reset reset);

  // A call of this peer has begun. It has ended when what is returned is released, which may outlive this.
  std::shared_ptr<void> Begin(const std::string& peer, size_t metadata_bytes);

 private:
  NamedCounts calls_;  // by peer
  const Reset reset_;
};

}  // namespace diptych
