// Bounds how long a header of HTTP/2 may be, which gRPC 1.51 does not (CVE-2023-33953).
#pragma once

#include <atomic>
#include <cstddef>
#include <unordered_map>

#include "common/mutex.h"

namespace diptych {

// Bytes of one header or trailer on the wire, all its frames together; more end its connection. Four times what
// HTTP/2's settings allow (connection_calls.h), so a caller that has not read them yet learns its status.
inline constexpr size_t kMaxHeaderBytes = 64 << 10;

// Counts the bytes of headers that have not come whole, by who reads them: one reader a connection. Thread-safe.
class UnfinishedHeaders {
 public:
  // The reader's next frame begins; `is_last`: its header ends there.
  void BeginFrame(const void* reader, bool is_last);
  // So many more bytes of the frame have come, the last ones if `ends_frame`. False if the header is too long.
  bool Count(const void* reader, size_t bytes, bool ends_frame);
  // The reader is gone.
  void Forget(const void* reader);

  size_t size() const { return size_; }

 private:
  struct Header {
    size_t bytes = 0;
    bool goes_on = false;  // in another frame
  };

  void Erase(const void* reader) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::atomic<size_t> size_ = 0;  // of headers_; of no header that came in one piece is anything kept
  Mutex mutex_;
  std::unordered_map<const void*, Header> headers_ ABSL_GUARDED_BY(mutex_);
};

// True if the gRPC of this process asks, or is of another version, which has a bound of its own. Also what makes the
// linker take this file, whose definitions go before gRPC's.
bool GrpcHeadersAreBounded();

}  // namespace diptych
