// gRPC 1.51 keeps what has come of a header's field until the field is whole, and reads all of it anew with each piece:
// 18 MB of a field without end took it 20 s of a processor. It takes up streams as fast as they come, however many wait
// for a thread already: 20 connections that began and reset 20,000 each, 9 MB, made it hold 3.2 GB. So what reads
// headers, makes streams and destroys them is defined here once more. The dynamic linker takes the definitions of a
// program before those of its libraries; they count, and call the library's.
#include "common/grpc/transport_bounds.h"

#include <dlfcn.h>
#include <grpc/slice.h>
#include <grpcpp/version_info.h>

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "common/grpc/connection_calls.h"

namespace diptych {

void UnfinishedHeaders::BeginFrame(const void* reader, Frame frame) {
  if (frame == Frame::kLast && size_ == 0) return;
  MutexLock lock(mutex_);
  const auto found = frame == Frame::kLast ? headers_.find(reader) : headers_.try_emplace(reader).first;
  if (found != headers_.end()) {
    Header& header = found->second;
    if (header.frame == Frame::kSkipped && frame != Frame::kSkipped) header = {};
    ++header.frames;
    header.frame = frame;
  }
  size_ = headers_.size();
}

bool UnfinishedHeaders::Count(const void* reader, size_t bytes, bool ends_frame) {
  if (ends_frame && size_ == 0) return bytes <= kMaxHeaderBytes;
  MutexLock lock(mutex_);
  Header& header = headers_[reader];
  header.bytes += bytes;
  size_ = headers_.size();
  const bool is_short = header.is_short();
  if (!is_short || (ends_frame && header.frame == Frame::kLast)) Erase(reader);
  return is_short;
}

void UnfinishedHeaders::Forget(const void* reader) {
  if (size_ == 0) return;
  MutexLock lock(mutex_);
  Erase(reader);
}

void UnfinishedHeaders::Erase(const void* reader) {
  headers_.erase(reader);
  size_ = headers_.size();
}

void OpenStreams::Raise(size_t most_bytes) {
  size_t now = most_bytes_;
  while (now < most_bytes && !most_bytes_.compare_exchange_weak(now, most_bytes)) {
  }
}

void OpenStreams::Opened(const void* connection, const void* stream) {
  MutexLock lock(mutex_);
  if (!streams_.try_emplace(stream, Stream{connection}).second) return;
  connections_[connection] += kStreamBytes;
  bytes_ += kStreamBytes;
}

void OpenStreams::AddHeader(const void* stream, size_t bytes) {
  MutexLock lock(mutex_);
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  const size_t before = found->second.bytes();
  found->second.header_bytes += bytes;
  const size_t more = found->second.bytes() - before;
  connections_[found->second.connection] += more;
  bytes_ += more;
}

void OpenStreams::Closed(const void* stream) {
  MutexLock lock(mutex_);
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  const size_t bytes = found->second.bytes();
  const auto connection = connections_.find(found->second.connection);
  if ((connection->second -= bytes) == 0) connections_.erase(connection);
  bytes_ -= bytes;
  streams_.erase(found);
}

bool OpenStreams::MayGoOn(const void* connection) {
  if (bytes_ < most_bytes_) return true;
  MutexLock lock(mutex_);
  const auto own = connections_.find(connection);
  return own == connections_.end() || own->second <= std::max(most_bytes_ / connections_.size(), kLeastShare);
}

}  // namespace diptych

#if GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51

namespace diptych {
namespace {

// Never destroyed: gRPC's threads outlive main.
UnfinishedHeaders& AllUnfinished() {
  static auto* const unfinished = new UnfinishedHeaders;
  return *unfinished;
}
OpenStreams& AllOpen() {
  static auto* const open = new OpenStreams;
  return *open;
}

constexpr char kBeginFrame[] =
    "_ZN9grpc_core11HPackParser10BeginFrameEP19grpc_metadata_batchjNS0_8BoundaryENS0_8PriorityENS0_7LogInfoE";
constexpr char kEndParser[] = "_ZN9grpc_core11HPackParserD1Ev";
constexpr char kParse[] =
    "_Z31grpc_chttp2_header_parser_parsePvP21grpc_chttp2_transportP18grpc_chttp2_streamRK10grpc_slicei";
constexpr char kBeginStream[] =
    "_ZN18grpc_chttp2_streamC1EP21grpc_chttp2_transportP20grpc_stream_refcountPKvPN9grpc_core5ArenaE";
constexpr char kEndStream[] = "_ZN18grpc_chttp2_streamD1Ev";

// gRPC's own definition.
template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

bool BoundGrpcTransports(size_t calls) {
  AllOpen().Raise(4 * calls * OpenStreams::kStreamBytes);
  Dl_info own{}, found{};
  const auto is_own = [&](const char* name) {
    return dladdr(dlsym(RTLD_DEFAULT, name), &found) != 0 && own.dli_fbase == found.dli_fbase;
  };
  return dladdr(reinterpret_cast<void*>(&BoundGrpcTransports), &own) != 0 && is_own(kParse) && is_own(kBeginStream);
}

}  // namespace diptych

// As in gRPC 1.51's src/core/ext/transport/chttp2/transport/, whose headers are not installed: what these functions are
// called with. Of the members of these types nothing is known here.

class grpc_metadata_batch;
struct grpc_chttp2_transport;
struct grpc_stream_refcount;

namespace grpc_core {

class Arena;

class HPackParser {
 public:
  enum class Boundary : uint8_t { kNone, kEndOfHeaders, kEndOfStream };
  enum class Priority : uint8_t { kNone, kIncluded };
  struct LogInfo {
    enum class Type : uint8_t { kHeaders, kTrailers, kDontKnow };
    uint32_t stream_id;
    Type type;
    bool is_client;
  };

  void BeginFrame(grpc_metadata_batch* metadata, uint32_t most_bytes, Boundary boundary, Priority priority,
                  LogInfo log_info);
  ~HPackParser();
};

// Frames that nobody wants have no metadata and no boundary. A tier's are as many as the calls that were cancelled.
static diptych::UnfinishedHeaders::Frame KindOf(const grpc_metadata_batch* metadata, HPackParser::Boundary boundary,
                                                const HPackParser::LogInfo& log_info) {
  using Frame = diptych::UnfinishedHeaders::Frame;
  if (metadata == nullptr) return log_info.is_client ? Frame::kLast : Frame::kSkipped;
  return boundary == HPackParser::Boundary::kNone ? Frame::kGoesOn : Frame::kLast;
}

void HPackParser::BeginFrame(grpc_metadata_batch* metadata, uint32_t most_bytes, Boundary boundary, Priority priority,
                             LogInfo log_info) {
  static const auto next =
      diptych::Next<void(HPackParser*, grpc_metadata_batch*, uint32_t, Boundary, Priority, LogInfo)>(
          diptych::kBeginFrame);
  diptych::AllUnfinished().BeginFrame(this, KindOf(metadata, boundary, log_info));
  // Of a caller that has not acknowledged the settings yet gRPC would take any number.
  next(this, metadata, std::min(most_bytes, uint32_t{diptych::kMaxMetadataBytes}), boundary, priority, log_info);
}

HPackParser::~HPackParser() {
  static const auto next = diptych::Next<void(HPackParser*)>(diptych::kEndParser);
  diptych::AllUnfinished().Forget(this);
  next(this);
}

}  // namespace grpc_core

struct grpc_chttp2_stream {
  // `accepted`: what the server knows it by; null for a client's.
  grpc_chttp2_stream(grpc_chttp2_transport* connection, grpc_stream_refcount* references, const void* accepted,
                     grpc_core::Arena* arena);
  ~grpc_chttp2_stream();
};

grpc_chttp2_stream::grpc_chttp2_stream(grpc_chttp2_transport* connection, grpc_stream_refcount* references,
                                       const void* accepted, grpc_core::Arena* arena) {
  static const auto next = diptych::Next<void(grpc_chttp2_stream*, grpc_chttp2_transport*, grpc_stream_refcount*,
                                              const void*, grpc_core::Arena*)>(diptych::kBeginStream);
  if (accepted != nullptr) diptych::AllOpen().Opened(connection, this);
  next(this, connection, references, accepted, arena);
}

grpc_chttp2_stream::~grpc_chttp2_stream() {
  static const auto next = diptych::Next<void(grpc_chttp2_stream*)>(diptych::kEndStream);
  diptych::AllOpen().Closed(this);
  next(this);
}

// A piece of a frame of a header. An error ends the connection.
absl::Status grpc_chttp2_header_parser_parse(void* parser, grpc_chttp2_transport* connection,
                                             grpc_chttp2_stream* stream, const grpc_slice& piece, int is_last) {
  static const auto next =
      diptych::Next<absl::Status(void*, grpc_chttp2_transport*, grpc_chttp2_stream*, const grpc_slice&, int)>(
          diptych::kParse);
  if (!diptych::AllUnfinished().Count(parser, GRPC_SLICE_LENGTH(piece), is_last != 0)) {
    return absl::ResourceExhaustedError("a header is too long");
  }
  if (!diptych::AllOpen().MayGoOn(connection)) return absl::ResourceExhaustedError("too many streams");
  diptych::AllOpen().AddHeader(stream, GRPC_SLICE_LENGTH(piece));
  return next(parser, connection, stream, piece, is_last);
}

#else

bool diptych::BoundGrpcTransports(size_t calls) {
  return true;
}

#endif
