// The one conversion between absl::Status and what gRPC carries.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace diptych {

// Reason and details, field and retry time travel as google.rpc.ErrorInfo (domain "diptych"), BadRequest and RetryInfo
// inside google.rpc.Status, the standard form of error details in gRPC. Every error has an ErrorInfo: the reason of one
// that has none is its code's name.
grpc::Status ToGrpcStatus(const absl::Status& status);

// The inverse. Details that are absent or malformed leave a plain status with the same code and message.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace diptych
