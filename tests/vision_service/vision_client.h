// How the tests of the vision service talk to it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/grpc/grpc_status.h"
#include "diptych/v1/vision.grpc.pb.h"

namespace diptych::vision::testing {

using namespace diptych::testing;  // NOLINT: one name for the doubles of this folder and of tests/testing

inline std::unique_ptr<v1::VisionService::Stub> VisionStub(int port) {
  return v1::VisionService::NewStub(
      grpc::CreateChannel(absl::StrCat("ipv4:127.0.0.1:", port), grpc::InsecureChannelCredentials()));
}

struct EncodeOutcome {
  std::vector<v1::EncodeImageResponse> messages;
  absl::Status status;

  // The bytes of all chunks.
  std::string bytes() const {
    std::string joined;
    for (const auto& message : messages) joined += message.chunk().data();
    return joined;
  }
};

// Reads the stream to its end.
inline EncodeOutcome EncodeImage(v1::VisionService::Stub& stub, const v1::EncodeImageRequest& request,
                                 grpc::ClientContext& context) {
  EncodeOutcome outcome;
  const auto reader = stub.EncodeImage(&context, request);
  v1::EncodeImageResponse message;
  while (reader->Read(&message)) outcome.messages.push_back(message);
  outcome.status = FromGrpcStatus(reader->Finish());
  return outcome;
}

inline EncodeOutcome EncodeImage(v1::VisionService::Stub& stub, const v1::EncodeImageRequest& request) {
  grpc::ClientContext context;
  return EncodeImage(stub, request, context);
}

}  // namespace diptych::vision::testing
