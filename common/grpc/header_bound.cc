// gRPC 1.51 keeps what has come of a header's field until the field is whole, and reads all of it anew with each piece:
// 18 MB of a field without end took it 20 s of a processor. So its reader of headers is defined here once more. The
// dynamic linker takes the definitions of a program before those of its libraries; they count, and call the library's.
#include "common/grpc/header_bound.h"

#include <dlfcn.h>
#include <grpc/slice.h>
#include <grpcpp/version_info.h>

#include <cstdint>

#include "absl/status/status.h"

namespace diptych {

void UnfinishedHeaders::BeginFrame(const void* reader, bool is_last) {
  if (is_last && size_ == 0) return;
  MutexLock lock(mutex_);
  const auto found = is_last ? headers_.find(reader) : headers_.try_emplace(reader).first;
  if (found != headers_.end()) found->second.goes_on = !is_last;
  size_ = headers_.size();
}

bool UnfinishedHeaders::Count(const void* reader, size_t bytes, bool ends_frame) {
  if (ends_frame && size_ == 0) return bytes <= kMaxHeaderBytes;
  MutexLock lock(mutex_);
  Header& header = headers_[reader];
  header.bytes += bytes;
  size_ = headers_.size();
  const bool is_short = header.bytes <= kMaxHeaderBytes;
  if (!is_short || (ends_frame && !header.goes_on)) Erase(reader);
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

}  // namespace diptych

#if GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51

namespace diptych {
namespace {

// Never destroyed: gRPC's threads outlive main.
UnfinishedHeaders& AllUnfinished() {
  static auto* const unfinished = new UnfinishedHeaders;
  return *unfinished;
}

constexpr char kBeginFrame[] =
    "_ZN9grpc_core11HPackParser10BeginFrameEP19grpc_metadata_batchjNS0_8BoundaryENS0_8PriorityENS0_7LogInfoE";
constexpr char kParse[] = "_ZN9grpc_core11HPackParser5ParseERK10grpc_sliceb";
constexpr char kDestroy[] = "_ZN9grpc_core11HPackParserD1Ev";

// gRPC's own definition.
template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

bool GrpcHeadersAreBounded() {
  Dl_info own{}, found{};
  const bool known = dladdr(reinterpret_cast<void*>(&GrpcHeadersAreBounded), &own) != 0 &&
                     dladdr(dlsym(RTLD_DEFAULT, kParse), &found) != 0;
  return known && own.dli_fbase == found.dli_fbase;
}

}  // namespace diptych

class grpc_metadata_batch;

namespace grpc_core {

// As in gRPC 1.51's src/core/ext/transport/chttp2/transport/hpack_parser.h, which is not installed: what these
// functions are called with. Of its own members nothing is known here.
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
  absl::Status Parse(const grpc_slice& slice, bool is_last);
  ~HPackParser();
};

void HPackParser::BeginFrame(grpc_metadata_batch* metadata, uint32_t most_bytes, Boundary boundary, Priority priority,
                             LogInfo log_info) {
  static const auto next =
      diptych::Next<void(HPackParser*, grpc_metadata_batch*, uint32_t, Boundary, Priority, LogInfo)>(
          diptych::kBeginFrame);
  diptych::AllUnfinished().BeginFrame(this, boundary != Boundary::kNone);
  next(this, metadata, most_bytes, boundary, priority, log_info);
}

absl::Status HPackParser::Parse(const grpc_slice& slice, bool is_last) {
  static const auto next = diptych::Next<absl::Status(HPackParser*, const grpc_slice&, bool)>(diptych::kParse);
  if (!diptych::AllUnfinished().Count(this, GRPC_SLICE_LENGTH(slice), is_last)) {
    return absl::ResourceExhaustedError("a header is too long");
  }
  return next(this, slice, is_last);
}

HPackParser::~HPackParser() {
  static const auto next = diptych::Next<void(HPackParser*)>(diptych::kDestroy);
  diptych::AllUnfinished().Forget(this);
  next(this);
}

}  // namespace grpc_core

#else

bool diptych::GrpcHeadersAreBounded() {
  return true;
}

#endif
