#include "cli/pull/pull_progress.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/terminal/terminal.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

constexpr absl::Duration kRateWindow = absl::Seconds(8), kShortestRate = absl::Milliseconds(300);
constexpr absl::Duration kRedraw = absl::Milliseconds(200), kLineEvery = absl::Seconds(10);
constexpr int kPullBarColumns = 24;

std::string TimeLeft(double seconds) {
  const auto whole = static_cast<int64_t>(seconds);
  if (whole < 60) return absl::StrCat(std::max<int64_t>(whole, 1), " s left");
  if (whole < 3600) return absl::StrCat(whole / 60, " min ", whole % 60, " s left");
  return absl::StrCat(whole / 3600, " h ", whole % 3600 / 60, " min left");
}

}  // namespace

void Rate::Add(SteadyTime now, int64_t bytes) {
  samples_.push_back({now, bytes});
  while (samples_.size() > 2 && TimeSince(samples_.front().when, now) > kRateWindow) samples_.pop_front();
}

double Rate::BytesPerSecond() const {
  if (samples_.empty()) return 0;
  const absl::Duration time = TimeSince(samples_.front().when, samples_.back().when);
  if (time < kShortestRate) return 0;
  return static_cast<double>(samples_.back().bytes - samples_.front().bytes) / absl::ToDoubleSeconds(time);
}

std::string ProgressText(int64_t done, int64_t total, double bytes_per_second) {
  const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1;
  const int filled = static_cast<int>(share * kPullBarColumns);
  std::string text =
      absl::StrFormat("[%s%s] %3d %%  %s of %s", std::string(filled, '#'), std::string(kPullBarColumns - filled, '-'),
                      static_cast<int>(share * 100), FormatBytes(done), FormatBytes(total));
  if (bytes_per_second < 1) return text;
  absl::StrAppend(&text, "  ", FormatBytes(static_cast<int64_t>(bytes_per_second)), "/s");
  if (done < total) absl::StrAppend(&text, "  ", TimeLeft(static_cast<double>(total - done) / bytes_per_second));
  return text;
}

PullProgress::PullProgress(int64_t total, bool json, std::function<void(const std::string&)> say)
    : total_(total), json_(json), terminal_(IsTerminal(stderr) && !json), say_(std::move(say)) {}

PullProgress::~PullProgress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void PullProgress::Show(int64_t done) {
  const SteadyTime now = SteadyClock::now();
  if (now < next_) return;
  next_ = Later(now, terminal_ ? kRedraw : kLineEvery);
  rate_.Add(now, done);
  const double rate = rate_.BytesPerSecond();
  if (json_) {
    std::fprintf(stderr, "{\"progress\":{\"done\":%lld,\"of\":%lld,\"bytes_per_second\":%.0f}}\n",
                 static_cast<long long>(done), static_cast<long long>(total_), rate);
  } else if (terminal_) {
    const std::string line = Shorten(ProgressText(done, total_, rate), TerminalColumns() - 1);
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
    shown_ = true;
  } else {
    say_(ProgressText(done, total_, rate));
  }
}

}  // namespace diptych::cli
