// The threads on which gRPC calls our reactors.
#pragma once

namespace diptych {

// Keeps them until the process ends; before the first server or channel of ours. gRPC 1.51 ends them with the last
// server or channel that used them, and waits for them then: where a reactor lets that one go, its thread would wait
// for itself, and gRPC aborts the process. Idempotent. Thread-safe.
void KeepCallbackThreads();

}  // namespace diptych
