#include "common/grpc/grpc_log.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "common/stage_clock.h"

namespace diptych {
namespace {

constexpr std::chrono::seconds kBetweenLines(10);

std::atomic<int64_t> unsaid = 0;
std::atomic<SteadyDuration::rep> next_line = 0;  // since the clock's epoch

// True for one caller in ten seconds.
bool IsTimeForALine() {
  const SteadyDuration now = SteadyClock::now().time_since_epoch();
  auto due = next_line.load();
  return now.count() >= due && next_line.compare_exchange_strong(due, (now + kBetweenLines).count());
}

void LogPlace(gpr_log_func_args* line) {
  std::string_view file = line->file, message = line->message;
  file.remove_prefix(file.rfind('/') + 1);
  if (message.starts_with("assertion failed")) {
    return spdlog::critical("gRPC, {}:{}: {}", file, line->line, message);
  }
  ++unsaid;
  if (!IsTimeForALine()) return;
  spdlog::warn("gRPC logged {} faults of connections, the last in {}:{}; what it says of them may quote callers",
               unsaid.exchange(0), file, line->line);
}

}  // namespace

void QuietGrpcLog() {
  google::protobuf::SetLogHandler(nullptr);
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function(LogPlace);
}

}  // namespace diptych
