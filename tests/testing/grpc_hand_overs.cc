// Shows ThreadSanitizer how gRPC hands calls, alarms and messages from one thread to the next. The system's gRPC and
// abseil are not instrumented, so how they synchronise is unseen, and without this every hand-over would look like a
// race. Linked into what the preset tsan builds, where these definitions go before those of libgrpc and libabsl;
// written against gRPC 1.51.
//
// A batch of operations is released at its tag by who starts and by who completes it, and acquired by who is called for
// it; an alarm's function likewise at itself, and a server's call at its own counters. Locks inside of gRPC count, as
// if it were instrumented.
#include <absl/status/status.h>
#include <absl/synchronization/mutex.h>
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <grpcpp/alarm.h>
#include <grpcpp/server.h>
#include <grpcpp/support/callback_common.h>
#include <grpcpp/support/server_callback.h>
#include <sanitizer/tsan_interface.h>

#include <functional>
#include <memory>
#include <thread>
#include <utility>

namespace {

// The definition that stands behind one of this file.
template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

void Release(const void* at) {
  __tsan_release(const_cast<void*>(at));
}

void Acquire(const void* at) {
  __tsan_acquire(const_cast<void*>(at));
}

// Lets this file call a private function.
template <auto kRun>
struct StatusTag {
  friend void Run(grpc::internal::CallbackWithStatusTag* tag, bool ok) { (tag->*kRun)(ok); }
};
void Run(grpc::internal::CallbackWithStatusTag* tag, bool ok);
template struct StatusTag<&grpc::internal::CallbackWithStatusTag::Run>;

}  // namespace

extern "C" {

int grpc_hand_overs = 0;  // for which the linker takes this file

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t count, void* tag, void* reserved) {
  static const auto next = Next<decltype(grpc_call_start_batch)>("grpc_call_start_batch");
  Release(tag);
  return next(call, ops, count, tag, reserved);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline, void* reserved) {
  static const auto next = Next<decltype(grpc_completion_queue_next)>("grpc_completion_queue_next");
  const grpc_event event = next(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) Acquire(event.tag);
  return event;
}

grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag, gpr_timespec deadline, void* reserved) {
  static const auto next = Next<decltype(grpc_completion_queue_pluck)>("grpc_completion_queue_pluck");
  const grpc_event event = next(queue, tag, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) Acquire(tag);
  return event;
}

// grpc::internal::CallbackWithSuccessTag::StaticRun
void DiptychRunSuccessTag(grpc_completion_queue_functor* tag, int ok) __asm__(
    "_ZN4grpc8internal22CallbackWithSuccessTag9StaticRunEP29grpc_completion_queue_functori");
void DiptychRunSuccessTag(grpc_completion_queue_functor* tag, int ok) {
  Acquire(tag);
  static_cast<grpc::internal::CallbackWithSuccessTag*>(tag)->force_run(ok != 0);
}

// grpc::internal::CallbackWithStatusTag::StaticRun
void DiptychRunStatusTag(grpc_completion_queue_functor* tag, int ok) __asm__(
    "_ZN4grpc8internal21CallbackWithStatusTag9StaticRunEP29grpc_completion_queue_functori");
void DiptychRunStatusTag(grpc_completion_queue_functor* tag, int ok) {
  Acquire(tag);
  Run(static_cast<grpc::internal::CallbackWithStatusTag*>(tag), ok != 0);
}
}

// Of libgrpc's own headers, which are not installed.
struct grpc_cq_completion;
using CompletionDone = void(void*, grpc_cq_completion*);
void grpc_cq_end_op(grpc_completion_queue* queue, void* tag, absl::Status error, CompletionDone* done, void* argument,
                    grpc_cq_completion* storage, bool internal);
void grpc_cq_end_op(grpc_completion_queue* queue, void* tag, absl::Status error, CompletionDone* done, void* argument,
                    grpc_cq_completion* storage, bool internal) {
  static const auto next = Next<decltype(grpc_cq_end_op)>(
      "_Z14grpc_cq_end_opP21grpc_completion_queuePvN4absl7debian36StatusEPFvS1_P18grpc_cq_completionES1_S6_b");
  Release(tag);
  next(queue, tag, std::move(error), done, argument, storage, internal);
}

namespace grpc {

void Alarm::SetInternal(gpr_timespec deadline, std::function<void(bool)> function) {
  using Set = void(Alarm*, gpr_timespec, std::function<void(bool)>);
  static const auto next = Next<Set>("_ZN4grpc5Alarm11SetInternalE12gpr_timespecSt8functionIFvbEE");
  auto* const handed = new std::function<void(bool)>(std::move(function));  // gRPC calls it once
  Release(handed);
  next(this, deadline, [handed](bool in_time) {
    Acquire(handed);
    const std::unique_ptr<std::function<void(bool)>> function(handed);
    (*function)(in_time);
  });
}

// By the last of a call, for which a server's shutdown waits.
void Server::UnrefWithPossibleNotify() {
  static const auto next = Next<void(Server*)>("_ZN4grpc6Server23UnrefWithPossibleNotifyEv");
  Release(this);
  next(this);
}

void Server::UnrefAndWaitLocked() {
  static const auto next = Next<void(Server*)>("_ZN4grpc6Server18UnrefAndWaitLockedEv");
  next(this);
  Acquire(this);
}

namespace internal {

void ServerCallbackCall::ScheduleOnDone(bool on_this_thread) {
  using Schedule = void(ServerCallbackCall*, bool);
  static const auto next = Next<Schedule>("_ZN4grpc8internal18ServerCallbackCall14ScheduleOnDoneEb");
  Acquire(&callbacks_outstanding_);
  next(this, on_this_thread);
}

// On a new thread in place of one of gRPC's: what it counts down there would be unseen.
void ServerCallbackCall::CallOnCancel(ServerReactor* reactor) {
  Acquire(&on_cancel_conditions_remaining_);
  if (reactor->InternalInlineable()) return reactor->OnCancel();
  Ref();
  std::thread([this, reactor] {
    reactor->OnCancel();
    MaybeDone();
  }).detach();
}

}  // namespace internal
}  // namespace grpc

namespace absl {
ABSL_NAMESPACE_BEGIN

#define DIPTYCH_ABSL(name) "_ZN4absl7debian3" name

void Mutex::Lock() {
  static const auto next = Next<void(Mutex*)>(DIPTYCH_ABSL("5Mutex4LockEv"));
  next(this);
  Acquire(this);
}

bool Mutex::TryLock() {
  static const auto next = Next<bool(Mutex*)>(DIPTYCH_ABSL("5Mutex7TryLockEv"));
  if (!next(this)) return false;
  Acquire(this);
  return true;
}

void Mutex::Unlock() {
  static const auto next = Next<void(Mutex*)>(DIPTYCH_ABSL("5Mutex6UnlockEv"));
  Release(this);
  next(this);
}

void CondVar::Wait(Mutex* mutex) {
  static const auto next = Next<void(CondVar*, Mutex*)>(DIPTYCH_ABSL("7CondVar4WaitEPNS0_5MutexE"));
  Release(mutex);
  next(this, mutex);
  Acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  using Wait = bool(CondVar*, Mutex*, Duration);
  static const auto next = Next<Wait>(DIPTYCH_ABSL("7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE"));
  Release(mutex);
  const bool timed_out = next(this, mutex, timeout);
  Acquire(mutex);
  return timed_out;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  using Wait = bool(CondVar*, Mutex*, Time);
  static const auto next = Next<Wait>(DIPTYCH_ABSL("7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE"));
  Release(mutex);
  const bool timed_out = next(this, mutex, deadline);
  Acquire(mutex);
  return timed_out;
}

ABSL_NAMESPACE_END
}  // namespace absl
