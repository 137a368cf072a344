#include "common/process/shutdown_signal.h"

#include <pthread.h>
#include <unistd.h>

#include "common/logging/log.h"
#include "common/process/process.h"

namespace diptych {
namespace {

// Sent by EndsAtOnce's end. Others may be from this process, too, but not queued.
bool IsOwn(const siginfo_t& signal) {
  return signal.si_code == SI_QUEUE && signal.si_pid == getpid();
}

}  // namespace

ShutdownSignal::ShutdownSignal() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

bool ShutdownSignal::WaitFor(absl::Duration time) {
  const timespec limit = absl::ToTimespec(time);
  return sigtimedwait(&signals_, nullptr, &limit) > 0;
}

ShutdownSignal::EndsAtOnce::EndsAtOnce(const ShutdownSignal& signal)
    : waiting_([signals = signal.signals_] {
        siginfo_t came{};
        while (sigwaitinfo(&signals, &came) < 0) {
        }
        if (IsOwn(came)) return;
        spdlog::info("ending before the model is loaded");
        EndProcess(0);
      }) {}

ShutdownSignal::EndsAtOnce::~EndsAtOnce() {
  pthread_sigqueue(waiting_.native_handle(), SIGTERM, {});
  waiting_.join();
}

}  // namespace diptych
