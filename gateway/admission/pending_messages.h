// How many messages of each key are on their way, and how long each may take.
#pragma once

#include <memory>

#include "common/containers/named_counts.h"
#include "common/stage_clock.h"
#include "gateway/admission/api_keys.h"

namespace diptych::gateway {

// What has come of a message counts against no budget before all of it is there: gRPC does not tell. So only as many
// messages of a key at a time as its memory would take get the long patience; those beyond them must come soon, as
// messages do that are not held back on purpose. Thread-safe.
class PendingMessages {
 public:
  // `most_patient`: 1 and up.
  explicit PendingMessages(int most_patient) : most_patient_(most_patient) {}

  struct Message {
    SteadyDuration patience;
    std::shared_ptr<void> place;  // release it when the message is there; may outlive this
  };
  // With the headers of a call. Callers without a key are not told apart, and not counted.
  Message Begin(const Caller& caller);

 private:
  NamedCounts pending_;  // by the key's name
  const int most_patient_;
};

}  // namespace diptych::gateway
