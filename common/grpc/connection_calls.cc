#include "common/grpc/connection_calls.h"

#include <utility>

namespace diptych {
namespace {

constexpr int kTooManyCalls = 2 * kMaxConnectionCalls + 1;
constexpr size_t kTooMuchMetadata = 4 * kMaxMetadataBytes;

}  // namespace

ConnectionCalls::ConnectionCalls(Reset reset) : reset_(std::move(reset)) {}

std::shared_ptr<void> ConnectionCalls::Begin(const std::string& peer, size_t metadata_bytes) {
  NamedCounts::Counted call = calls_.Add(peer);
  if (call.count == kTooManyCalls || metadata_bytes > kTooMuchMetadata) reset_(peer);
  return std::move(call.one);
}

}  // namespace diptych
