#include "cli/terminal/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <iterator>
#include <set>
#include <thread>

#include "absl/time/clock.h"
#include "common/mutex.h"
#include "common/steady_clock.h"

namespace diptych::cli {
namespace {

std::atomic<bool> interrupted = false;
int wake_pipe[2] = {-1, -1};  // the handler writes, the watcher reads

// Outlives main, as the watcher does.
struct Listeners {
  Mutex mutex;
  std::set<const std::function<void()>*> all ABSL_GUARDED_BY(mutex);
};
Listeners& TheListeners() {
  static Listeners& listeners = *new Listeners;
  return listeners;
}

void OnSignal(int) {
  const int saved = errno;
  if (interrupted.exchange(true)) _exit(kInterrupted);
  const char byte = 0;
  (void)!write(wake_pipe[1], &byte, 1);
  errno = saved;
}

// Not for an interrupt that was forgotten before the watcher saw it.
void TellListeners() {
  Listeners& listeners = TheListeners();
  MutexLock lock(listeners.mutex);
  if (!Interrupted()) return;
  for (const auto* then : listeners.all) (*then)();
}

void Watch() {
  for (;;) {
    char byte;
    const ssize_t got = read(wake_pipe[0], &byte, 1);
    if (got == 1) TellListeners();
    if (got == 0 || (got < 0 && errno != EINTR)) return;
  }
}

bool StartWatching() {
  if (pipe2(wake_pipe, O_CLOEXEC) != 0) return false;
  // SIGINT is for the other threads, so that what they wait for ends.
  sigset_t interrupt, before;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, &before);
  std::thread(Watch).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return true;
}

}  // namespace

void CatchInterrupts() {
  static const bool kWatched = StartWatching();
  struct sigaction action = {};
  if (!kWatched || sigaction(SIGINT, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) return;
  action = {};
  action.sa_handler = OnSignal;  // without SA_RESTART: a read from a terminal or pipe ends, too
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
}

bool Interrupted() {
  return interrupted;
}

void ForgetInterrupt() {
  interrupted = false;
}

bool SleepUnlessInterrupted(absl::Duration duration) {
  constexpr absl::Duration kStep = absl::Milliseconds(50);
  for (const SteadyTime end = FromNow(duration); !Interrupted() && SteadyClock::now() < end;) {
    absl::SleepFor(std::min(kStep, TimeUntil(end)));
  }
  return !Interrupted();
}

absl::Status CheckInterrupt() {
  return Interrupted() ? absl::CancelledError("interrupted") : absl::OkStatus();
}

OnInterrupt::OnInterrupt(std::function<void()> then) : then_(std::move(then)) {
  Listeners& listeners = TheListeners();
  MutexLock lock(listeners.mutex);
  listeners.all.insert(&then_);
  if (Interrupted()) then_();
}

OnInterrupt::~OnInterrupt() {
  Listeners& listeners = TheListeners();
  MutexLock lock(listeners.mutex);
  listeners.all.erase(&then_);
}

InterruptibleReader::InterruptibleReader()
    : wake_(eventfd(0, EFD_CLOEXEC)), on_interrupt_([this] { eventfd_write(wake_, 1); }) {}

InterruptibleReader::~InterruptibleReader() {
  close(wake_);
}

ssize_t InterruptibleReader::Read(int file, char& byte) {
  pollfd files[] = {{.fd = file, .events = POLLIN, .revents = 0}, {.fd = wake_, .events = POLLIN, .revents = 0}};
  while (!Interrupted()) {
    if (poll(files, std::size(files), -1) < 0) continue;
    if (files[0].revents != 0) return read(file, &byte, 1);
    eventfd_t of_an_earlier_interrupt;
    eventfd_read(wake_, &of_an_earlier_interrupt);
  }
  return -1;
}

}  // namespace diptych::cli
