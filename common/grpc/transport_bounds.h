// Bounds what callers make gRPC 1.51 hold before any code of ours is called: headers that go on and on, and streams
// that begin faster than they are taken up.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <unordered_map>

#include "common/mutex.h"

namespace diptych {

// Bytes of one header or trailer on the wire, all its frames together; more end its connection. Four times what
// HTTP/2's settings allow (connection_calls.h), so a caller that has not read them yet learns its status.
inline constexpr size_t kMaxHeaderBytes = 64 << 10;
// Frames of it, which honest callers fill before they begin the next.
inline constexpr int kMaxHeaderFrames = 8;
// Bytes of headers that are skipped, one behind the other: those of streams that have ended already.
inline constexpr size_t kMaxSkippedBytes = 1 << 20;

// Counts the bytes and frames of headers that have not come whole, by who reads them: one reader a connection.
// Thread-safe.
class UnfinishedHeaders {
 public:
  enum class Frame {
    kLast,  // of its header
    kGoesOn,
    kSkipped,  // whether it is the last is not known
  };

  // The reader's next frame begins.
  void BeginFrame(const void* reader, Frame frame);
  // So many more bytes of the frame have come, the last ones if `ends_frame`. False if the header is too long.
  bool Count(const void* reader, size_t bytes, bool ends_frame);
  // The reader is gone.
  void Forget(const void* reader);

  size_t size() const { return size_; }

 private:
  struct Header {
    size_t bytes = 0;
    int frames = 0;
    Frame frame = Frame::kLast;  // the last that began

    bool is_short() const {
      if (frame == Frame::kSkipped) return bytes <= kMaxSkippedBytes;
      return bytes <= kMaxHeaderBytes && frames <= kMaxHeaderFrames;
    }
  };

  void Erase(const void* reader) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::atomic<size_t> size_ = 0;  // of headers_; of no header that came in one piece is anything kept
  Mutex mutex_;
  std::unordered_map<const void*, Header> headers_ ABSL_GUARDED_BY(mutex_);
};

// Streams that callers have begun and that hold memory still, those which were reset meanwhile included. A stream
// counts as the bytes of its header on the wire, for each of which gRPC and we keep up to 50. Thread-safe.
class OpenStreams {
 public:
  // What a stream counts as at least.
  static constexpr size_t kStreamBytes = 512;
  // Of all connections, unless Raise says more.
  static constexpr size_t kMostBytes = 8192 * kStreamBytes;
  // Of one connection, however many others there are.
  static constexpr size_t kLeastShare = 8 * kStreamBytes;

  void Raise(size_t most_bytes);
  void Opened(const void* connection, const void* stream);
  // So much more of the stream's header has come. These do nothing for a stream that Opened was not told of.
  void AddHeader(const void* stream, size_t bytes);
  void Closed(const void* stream);
  // False if there are too many, of which this connection has more than its share: it is to end.
  bool MayGoOn(const void* connection);

 private:
  struct Stream {
    const void* connection;
    size_t header_bytes = 0;

    size_t bytes() const { return std::max(header_bytes, kStreamBytes); }
  };

  std::atomic<size_t> most_bytes_ = kMostBytes;
  std::atomic<size_t> bytes_ = 0;  // of streams_
  Mutex mutex_;
  std::unordered_map<const void*, Stream> streams_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<const void*, size_t> connections_ ABSL_GUARDED_BY(mutex_);  // the bytes of their streams, over 0
};

// Makes room for so many calls at a time, of which each may be taken up, refused and begun again meanwhile. True if the
// gRPC of this process asks, or is of another version, which has bounds of its own. Also what makes the linker take
// this file, whose definitions go before gRPC's.
bool BoundGrpcTransports(size_t calls);

}  // namespace diptych
