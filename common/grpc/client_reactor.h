// What every client's reactor derives from in place of gRPC's own.
#pragma once

#include <grpcpp/grpcpp.h>

namespace diptych {

// `Reactor` is grpc::ClientReadReactor<…> or another one, and does not override OnReadInitialMetadataDone. gRPC 1.51
// ends the process by an assertion when its callbacks ask whether a reply was trailers alone and the peer, or damage on
// the way, marked other headers so.
template <typename Reactor>
class ClientReactor : public Reactor {
 public:
  bool InternalTrailersOnly(const grpc_call*) const final { return false; }
};

}  // namespace diptych
