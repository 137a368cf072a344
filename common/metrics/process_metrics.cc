#include "common/metrics/process_metrics.h"

#include <sys/resource.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "common/process/build_info.h"
#include "common/process/process.h"

namespace diptych {
namespace {

double SecondsOf(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return SecondsOf(usage.ru_utime) + SecondsOf(usage.ru_stime);
}

int OpenFiles() {
  std::error_code error;
  std::filesystem::directory_iterator files("/proc/self/fd", error);
  int count = 0;
  for (; !error && files != std::filesystem::directory_iterator(); files.increment(error)) ++count;
  return count;
}

double FileLimit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

double UnixSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

void AddProcessMetrics(MetricRegistry& registry, std::string_view tier, const v1::ModelDescription* model) {
  MetricLabels build{
      {"tier", std::string(tier)}, {"version", std::string(Version())}, {"commit", std::string(Commit())}};
  if (model != nullptr) {
    build.insert({{"model", model->name()}, {"dtype", model->dtype()}, {"device", model->device()}});
  }
  registry.AddGauge("diptych_build_info", "Always 1; its labels say which program serves which model.", build).Set(1);
  registry.AddGauge("process_start_time_seconds", "Unix time at which the process started serving.").Set(UnixSeconds());
  registry.AddGauge("process_max_fds", "Most files that the process may have open.").Set(FileLimit());
  auto cpu = registry.AddCounter("process_cpu_seconds_total", "CPU time that the process took, all threads together.");
  auto memory = registry.AddGauge("process_resident_memory_bytes", "Memory that the process holds.");
  auto files = registry.AddGauge("process_open_fds", "Files, sockets included, that the process has open.");
  registry.OnCollect([cpu, memory, files]() mutable {
    cpu.RaiseTo(CpuSeconds());
    memory.Set(static_cast<double>(ResidentBytes()));
    files.Set(OpenFiles());
  });
}

void AddReadiness(MetricRegistry& registry, std::function<absl::Status()> ready) {
  auto gauge = registry.AddGauge("diptych_ready", "1 while health checks of readiness pass, else 0.");
  registry.OnCollect([gauge, ready = std::move(ready)]() mutable { gauge.Set(ready().ok() ? 1 : 0); });
}

}  // namespace diptych
