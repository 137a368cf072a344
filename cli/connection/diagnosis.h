// Why no gateway answers at an address.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace diptych::cli {

// UNAVAILABLE, with its remedy, for an address that begins with a scheme that gRPC does not have ("http://…"), or has
// no host or no port from 1 to 65535; else OK. Opens no connection.
absl::Status CheckServerAddress(const std::string& server);

// Looks at the address itself, for a few seconds at most: UNAVAILABLE with the cause that was found and its remedy (see
// RemedyFor), such as a name that is unknown, a port that refuses connections, or one that speaks HTTP. `tls`:
// whether the client wanted TLS.
absl::Status WhyUnreachable(const std::string& server, bool tls);

// UNAVAILABLE for a server that answers and has no such call.
absl::Status NoGateway(const std::string& server);

}  // namespace diptych::cli
