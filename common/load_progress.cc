#include "common/load_progress.h"

#include "absl/time/clock.h"
#include "common/log.h"

namespace diptych {
namespace {

constexpr absl::Duration kBetweenLines = absl::Seconds(2);

}  // namespace

LoadProgress::LoadProgress(int64_t total) : total_(total), next_line_(absl::Now() + kBetweenLines) {}

void LoadProgress::Add(int64_t bytes) {
  read_ += bytes;
  const absl::Time now = absl::Now();
  if (now < next_line_) return;
  next_line_ = now + kBetweenLines;
  spdlog::info("loading: {} of {} MiB of the checkpoint read", read_ >> 20, total_ >> 20);
}

void LogChosenDType(std::string_view dtype, std::string_view reason) {
  spdlog::info("--dtype=auto is {}: {}", dtype, reason);
}

}  // namespace diptych
