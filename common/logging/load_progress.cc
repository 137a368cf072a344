#include "common/logging/load_progress.h"

#include "common/logging/log.h"

namespace diptych {
namespace {

constexpr absl::Duration kBetweenReports = absl::Seconds(2);

}  // namespace

LoadProgress::LoadProgress(int64_t total) : total_(total), next_line_(FromNow(kBetweenReports)) {}

void LoadProgress::Add(int64_t bytes) {
  read_ += bytes;
  const SteadyTime now = SteadyClock::now();
  if (now < next_line_) return;
  next_line_ = Later(now, kBetweenReports);
  spdlog::info("loading: {} of {} MiB of the checkpoint read", read_ >> 20, total_ >> 20);
}

void LogChosenDType(std::string_view dtype, std::string_view reason) {
  spdlog::info("--dtype=auto is {}: {}", dtype, reason);
}

void LogCard(std::string_view card, double memory_fraction) {
  spdlog::info("{}; at most {:.0f} % of its memory for this process", card, 100 * memory_fraction);
}

void LogGatheredAttention(std::string_view reason) {
  spdlog::warn("decode steps gather keys and values, which takes longer: {}", reason);
}

void LogNoCudaGraphs(std::string_view reason) {
  spdlog::warn("passes run without CUDA graphs: {}", reason);
}

void LogCapacity(std::string_view capacity) {
  spdlog::info("at most {}", capacity);
}

}  // namespace diptych
