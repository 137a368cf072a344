#include "common/process/process.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/logging/log.h"
#include "common/process/flags.h"
#include "common/status.h"

// LeakSanitizer's, where it is linked: it looks for leaks when a process ends by itself.
extern "C" [[gnu::weak]] void __lsan_do_leak_check();  // NOLINT(bugprone-reserved-identifier)

namespace diptych {
namespace {

constexpr int64_t kMuchFreed = 128 << 20;  // bytes; the program's own pages count, too

std::string LastPart(const std::string& path) {
  const std::filesystem::path whole(path);
  return (whole.has_filename() ? whole.filename() : whole.parent_path().filename()).string();
}

void LogFlags() {
  std::map<std::string, std::string> values;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (!IsOwnFlagFile(flag->Filename())) continue;
    const bool names_file = name == "model" || absl::StartsWith(name, "tls_") || absl::EndsWith(name, "_file");
    values.emplace(name, names_file ? LastPart(flag->CurrentValue()) : flag->CurrentValue());
  }
  std::string line;
  for (const auto& [name, value] : values) absl::StrAppend(&line, " --", name, "=", value);
  spdlog::info("flags:{}", line);
}

}  // namespace

absl::Status StartLog(std::string_view process, std::string_view level, std::string_view format) {
  std::signal(SIGPIPE, SIG_IGN);  // the reader of the log may be gone
  // Debian's Abseil looks for cycles at each lock, as a debug build, and one in gRPC's order of locks would end us.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  DIPTYCH_RETURN_IF_ERROR(ConfigureLog(process, level, format));
  LogFlags();
  return absl::OkStatus();
}

int FailStart(std::string_view process, const absl::Status& status) {
  const std::string message(status.message());
  std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(process.size()), process.data(), message.c_str());
  return 1;
}

void AnnounceReady(std::string_view tier, int port, int metrics_port, const v1::ModelDescription& model,
                   absl::Duration load_time, absl::Duration drain) {
  spdlog::info("serving {} in {} on {}, {} MiB resident, ready after {:.1f} s", model.name(), model.dtype(),
               model.device(), ResidentBytes() >> 20, absl::ToDoubleSeconds(load_time));
  const std::string line = absl::StrCat("READY tier=", std::string(tier), " port=", port, " model=", model.name(),
                                        " device=", model.device(), " dtype=", model.dtype(),
                                        metrics_port > 0 ? absl::StrCat(" metrics_port=", metrics_port) : "",
                                        " drain=", absl::FormatDuration(drain), "\n");
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
}

void EndUnhealthy(const absl::Status& why, const std::function<void()>& set_unready) {
  spdlog::critical("ending: {}", std::string(why.message()));
  set_unready();
  absl::SleepFor(absl::Seconds(1));
  std::_Exit(1);  // the log is not taken from threads that still run
}

void EndProcess(int status) {
  if (__lsan_do_leak_check != nullptr) __lsan_do_leak_check();
  std::fflush(nullptr);
  std::_Exit(status);
}

void LogDraining() {
  spdlog::info("draining");
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t all_pages = 0, resident_pages = 0;
  if (!(statm >> all_pages >> resident_pages)) return 0;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

void ReturnFreedMemory() {
  const struct mallinfo2 heap = mallinfo2();
  const auto used = static_cast<int64_t>(heap.uordblks + heap.hblkhd);
  if (ResidentBytes() - used > kMuchFreed) malloc_trim(0);
}

}  // namespace diptych
