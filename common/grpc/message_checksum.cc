#include "common/grpc/message_checksum.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/hash.h"

namespace diptych {
namespace {

constexpr char kChecksum[] = "diptych-crc32c";

// Keeps nothing of what is written.
class ChecksumStream final : public google::protobuf::io::CopyingOutputStream {
 public:
  bool Write(const void* bytes, int size) override {
    sum_ = Crc32c({static_cast<const char*>(bytes), static_cast<size_t>(size)}, sum_);
    return true;
  }
  uint32_t sum() const { return sum_; }

 private:
  uint32_t sum_ = 0;
};

std::string InWords(uint32_t sum) {
  return absl::StrCat(absl::Hex(sum, absl::kZeroPad8));
}

std::string ChecksumOf(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  uint32_t sum = 0;
  if (!message.Dump(&slices).ok()) return "";
  for (const grpc::Slice& slice : slices)
    sum = Crc32c({reinterpret_cast<const char*>(slice.begin()), slice.size()}, sum);
  return InWords(sum);
}

}  // namespace

void SendChecksum(grpc::ClientContext& context, const google::protobuf::MessageLite& request) {
  ChecksumStream checksum;
  {
    google::protobuf::io::CopyingOutputStreamAdaptor bytes(&checksum);
    request.SerializeToZeroCopyStream(&bytes);
  }
  context.AddMetadata(kChecksum, InWords(checksum.sum()));
}

bool IsAsSent(const grpc::ServerContextBase& context, const grpc::ByteBuffer& message) {
  const auto sent = context.client_metadata().find(kChecksum);
  if (sent == context.client_metadata().end()) return true;
  return std::string_view(sent->second.data(), sent->second.size()) == ChecksumOf(message);
}

}  // namespace diptych
