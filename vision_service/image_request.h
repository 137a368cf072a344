// The common beginning of all calls with an image.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <string_view>

#include "absl/status/statusor.h"
#include "common/containers/byte_budget.h"
#include "common/images/image_header.h"

namespace diptych::vision {

// Parses the bytes that gRPC handed to a method and lets them go. The lease covers the message.
// RESOURCE_EXHAUSTED with QUEUE_FULL if there is no memory for it; the errors of ParseMessage.
absl::StatusOr<ByteBudget::Lease> ReadImageRequest(const grpc::ByteBuffer& bytes, ByteBudget& memory,
                                                   google::protobuf::Message& request);

// CheckImage, whose errors then name the field "image".
absl::StatusOr<ImageHeader> CheckImageField(std::string_view encoded, const ImageLimits& limits);

}  // namespace diptych::vision
