#include "vision_service/image_request.h"

#include <string>

#include "common/grpc/wire.h"
#include "common/status.h"

namespace diptych::vision {

absl::StatusOr<ByteBudget::Lease> ReadImageRequest(const grpc::ByteBuffer& bytes, ByteBudget& memory,
                                                   google::protobuf::Message& request) {
  const auto size = static_cast<int64_t>(bytes.Length());
  // Twice, as long as both the bytes that came and the message are there.
  DIPTYCH_ASSIGN_OR_RETURN(ByteBudget::Lease lease, memory.Take(2 * size));
  DIPTYCH_RETURN_IF_ERROR(TakeRequest(bytes, request));
  lease.ShrinkTo(size);
  return lease;
}

absl::StatusOr<ImageHeader> CheckImageField(std::string_view encoded, const ImageLimits& limits) {
  auto header = CheckImage(encoded, limits);
  if (!header.ok()) return InvalidField(ReasonOf(header.status()), "image", std::string(header.status().message()));
  return header;
}

}  // namespace diptych::vision
