// Takes over what gRPC and protobuf themselves log.
#pragma once

namespace diptych {

// From now on gRPC's own log lines, which quote what peers send, are not written: a line of ours says where they came
// from, one in ten seconds at most. Failed assertions, which end the process, are written as they are. GRPC_VERBOSITY
// in the environment leaves gRPC's log as it was. Protobuf's, a line for each message that is not well formed, are not
// written at all. Idempotent. Thread-safe.
void QuietGrpcLog();

}  // namespace diptych
