// Delivers tokens from the engine thread to their readers.
#pragma once

#include <limits>
#include <memory>
#include <thread>

#include "common/containers/bounded_queue.h"
#include "language_service/engine/token_stream.h"

namespace diptych::language {

// One thread that calls the readers, so that what they do there (messages, writes, metrics) costs the engine thread
// nothing. A reader must not wait: all others stand behind it. Thread-safe.
class TokenDelivery {
 public:
  TokenDelivery() : thread_([this] { Run(); }) {}
  // Delivers what was added, then joins the thread.
  ~TokenDelivery();

  TokenDelivery(const TokenDelivery&) = delete;
  TokenDelivery& operator=(const TokenDelivery&) = delete;

  // `stream` has something for a reader that is ready. Never waits.
  void Add(std::shared_ptr<TokenStream> stream) { queue_.TryPush(std::move(stream)); }

 private:
  void Run();

  // A stream is in it at most once, so requests bound it.
  BoundedQueue<std::shared_ptr<TokenStream>> queue_{std::numeric_limits<size_t>::max()};
  std::thread thread_;
};

}  // namespace diptych::language
