#include "common/grpc/connection_calls.h"

#include <utility>

namespace diptych {
namespace {

constexpr int kTooManyCalls = 2 * kMaxConnectionCalls + 1;
constexpr size_t kTooMuchMetadata = 4 * kMaxMetadataBytes;

}  // namespace

ConnectionCalls::ConnectionCalls(Reset reset) : state_(std::make_shared<State>()), reset_(std::move(reset)) {}

std::shared_ptr<void> ConnectionCalls::Begin(const std::string& peer, size_t metadata_bytes) {
  int calls = 0;
  {
    MutexLock lock(state_->mutex);
    calls = ++state_->calls[peer];
  }
  if (calls == kTooManyCalls || metadata_bytes > kTooMuchMetadata) reset_(peer);
  const auto end = [state = state_, peer](void*) {
    MutexLock lock(state->mutex);
    if (const auto own = state->calls.find(peer); --own->second == 0) state->calls.erase(own);
  };
  return {nullptr, end};
}

}  // namespace diptych
