// Any bytes as a message to one of the services, in pieces as gRPC hands them on: the first byte says of which type,
// the second how long the pieces are. What is accepted must take no more memory than was counted before it was read.
#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "common/grpc/wire.h"
#include "common/status.h"
#include "diptych/v1/gateway.pb.h"
#include "diptych/v1/language.pb.h"
#include "diptych/v1/vision.pb.h"
#include "gateway/kserve/infer_request.h"
#include "inference/grpc_service.pb.h"
#include "tests/fuzz/checks.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::wire {
namespace {

using namespace diptych;  // NOLINT
using google::protobuf::Message;

const Message* const kTypes[] = {&v1::AskRequest::default_instance(),
                                 &v1::GenerateRequest::default_instance(),
                                 &inference::ModelInferRequest::default_instance(),
                                 &v1::AnalyzeImageRequest::default_instance(),
                                 &v1::PlanContextRequest::default_instance(),
                                 &v1::TokenizeRequest::default_instance(),
                                 &v1::DetokenizeRequest::default_instance(),
                                 &v1::EncodeImageRequest::default_instance(),
                                 &v1::AnalyzeQueriesRequest::default_instance(),
                                 &v1::CountTokensRequest::default_instance()};

constexpr size_t kOnce = 2048;  // bytes

grpc::ByteBuffer InPieces(std::string_view bytes, size_t piece) {
  std::vector<grpc::Slice> slices;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    slices.emplace_back(bytes.data(), std::min(piece, bytes.size()));
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

// Only what names an input or a parameter that is not known, or gives it a wrong value, may be refused.
void CheckInfer(const Message& message) {
  const auto read = gateway::ReadInferRequest(static_cast<const inference::ModelInferRequest&>(message));
  if (read.ok()) return;
  const bool told =
      read.status().code() == absl::StatusCode::kInvalidArgument || read.status().code() == absl::StatusCode::kNotFound;
  Require(told && !ReasonOf(read.status()).empty());
}

}  // namespace

DIPTYCH_FUZZ_TARGET(wire) {
  std::string_view input = fuzz::TextOf(data, size);
  if (input.size() < 2) return 0;
  const Message& type = *kTypes[static_cast<uint8_t>(input[0]) % std::size(kTypes)];
  const size_t piece = static_cast<uint8_t>(input[1]) + 1;
  input.remove_prefix(2);
  const std::unique_ptr<Message> message(type.New());
  const size_t empty = message->SpaceUsedLong();
  int64_t counted = 0;
  const absl::Status status = TakeRequest(InPieces(input, piece), *message, [&counted](int64_t bytes) {
    counted = bytes;
    return absl::OkStatus();
  });
  if (!status.ok()) {
    Require(status.code() == absl::StatusCode::kInvalidArgument);
    return 0;
  }
  // Besides it, messages that can be there once, and a text with room for twice what it holds.
  Require(message->SpaceUsedLong() <= empty + kOnce + static_cast<size_t>(counted) + 2 * input.size());
  if (&type == &inference::ModelInferRequest::default_instance()) CheckInfer(*message);
  return 0;
}

}  // namespace diptych::fuzz::wire
