// A race between a function that gRPC calls and the thread that had it called. Built by the preset tsan, which must see
// it.
#include <grpcpp/alarm.h>

#include <atomic>
#include <chrono>
#include <thread>

int main() {
  int shared = 0;
  std::atomic<bool> called = false;
  grpc::Alarm alarm;
  alarm.Set(std::chrono::system_clock::now(), [&](bool) {
    ++shared;
    called.store(true, std::memory_order_relaxed);
  });
  ++shared;
  while (!called.load(std::memory_order_relaxed)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}
