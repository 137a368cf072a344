// Log lines and exits of a server process. Apart from log.h, because spdlog and libtorch bring two
// versions of fmt, which one source cannot include together.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "diptych/v1/inference.pb.h"

namespace diptych {

// ConfigureLog, then one line with the flags of the running binary. Of flags that name files only the last part is
// shown. INVALID_ARGUMENT for an unknown level or format.
absl::Status StartLog(std::string_view process, std::string_view level, std::string_view format);

// One line on standard error that names the cause; returns the exit status for main.
int FailStart(std::string_view process, const absl::Status& status);

// Logs what is served, the memory it takes and how long loading took, and prints the line that scripts wait for:
// "READY tier=vision port=7001 model=demo device=cpu dtype=float32 metrics_port=9001 drain=30s"; without metrics_port
// for 0. `drain`: the longest time that calls get after SIGTERM.
void AnnounceReady(std::string_view tier, int port, int metrics_port, const v1::ModelDescription& model,
                   absl::Duration load_time, absl::Duration drain);

void LogDraining();

// Logs why, calls `set_unready`, and ends the process with 1 after a moment in which health checks can tell. Waits for
// no thread: the failed one may never end.
[[noreturn]] void EndUnhealthy(const absl::Status& why, const std::function<void()>& set_unready);

// Ends the process with what main would return, and destroys nothing that is static: gRPC's threads run to the very
// end, and one that still had something to log found no log.
[[noreturn]] void EndProcess(int status);

// Bytes of memory that the process holds now; 0 if the system does not say.
int64_t ResidentBytes();

// Gives the system what was freed, if it is much: malloc keeps what lies between pieces that are in use, so that a
// burst of large messages would stay with the process for good. Takes some milliseconds.
void ReturnFreedMemory();

}  // namespace diptych
