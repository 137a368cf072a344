#include "gateway/admission/pending_messages.h"

#include <utility>

#include "common/grpc/raw_service.h"

namespace diptych::gateway {

PendingMessages::Message PendingMessages::Begin(const Caller& caller) {
  if (caller == nullptr) return {.patience = kLongPatience, .place = nullptr};
  NamedCounts::Counted message = pending_.Add(caller->name);
  return {.patience = message.count <= most_patient_ ? kLongPatience : kShortPatience, .place = std::move(message.one)};
}

}  // namespace diptych::gateway
