#include "cli/terminal/progress.h"

#include <chrono>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/terminal/terminal.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

constexpr absl::Duration kQuietAtFirst = absl::Seconds(2), kOnTerminal = absl::Seconds(1),
                         kElsewhere = absl::Seconds(10);

}  // namespace

Progress::Progress(std::string what, size_t total, bool json)
    : what_(std::move(what)),
      total_(total),
      json_(json),
      terminal_(IsTerminal(stderr) && !json),
      begin_(SteadyClock::now()),
      thread_([this] { Run(); }) {}

Progress::~Progress() {
  {
    MutexLock lock(mutex_);
    end_ = true;
    Erase();
  }
  ended_.NotifyAll();
  thread_.join();
}

void Progress::Step() {
  MutexLock lock(mutex_);
  ++done_;
}

std::string Progress::Text() {
  MutexLock lock(mutex_);
  Erase();
  return Count();
}

std::string Progress::Count() const {
  return total_ > 0 ? absl::StrCat(done_, " of ", total_, " ", what_) : what_;
}

void Progress::Run() {
  MutexLock lock(mutex_);
  for (bool goes_on = Rest(lock, kQuietAtFirst); goes_on; goes_on = Rest(lock, terminal_ ? kOnTerminal : kElsewhere)) {
    Show();
  }
}

bool Progress::Rest(MutexLock& lock, absl::Duration duration) {
  const auto until = FromNow(duration);
  while (!end_ && ended_.WaitUntil(lock, until)) {
  }
  return !end_;
}

void Progress::Show() {
  const double seconds = absl::ToDoubleSeconds(TimeSince(begin_));
  if (json_) {
    std::fprintf(stderr, "{\"progress\":{\"done\":%zu,\"of\":%zu,\"seconds\":%.1f}}\n", done_, total_, seconds);
    return;
  }
  const std::string line = absl::StrFormat("%s, %.0f s", Count(), seconds);
  if (!terminal_) {
    std::fprintf(stderr, "diptych: %s\n", line.c_str());
    return;
  }
  Erase();
  std::fputs(Styled(Style::kDim, Shorten(line, TerminalColumns() - 1), stderr).c_str(), stderr);
  std::fflush(stderr);
  shown_ = true;
}

void Progress::Erase() {
  if (!shown_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace diptych::cli
