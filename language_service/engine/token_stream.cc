#include "language_service/engine/token_stream.h"

#include <iterator>
#include <utility>

#include "language_service/engine/token_delivery.h"

namespace diptych::language {

void TokenStream::DeliverOn(TokenDelivery& delivery) {
  std::lock_guard lock(mutex_);
  delivery_ = &delivery;
}

void TokenStream::Push(TokenDelta delta) {
  std::unique_lock lock(mutex_);
  if (abandoned_) return;
  if (delta_) {
    delta_->text += delta.text;
    std::move(delta.tokens.begin(), delta.tokens.end(), std::back_inserter(delta_->tokens));
  } else {
    delta_ = std::move(delta);
  }
  Offer(std::move(lock));
}

void TokenStream::GiveUpReader() {
  if (reader_.on_stuck) reader_.on_stuck();
}

void TokenStream::End(absl::StatusOr<GenerateResult> result) {
  std::unique_lock lock(mutex_);
  result_ = std::move(result);
  Offer(std::move(lock));
}

int64_t TokenStream::unread_tokens() const {
  std::lock_guard lock(mutex_);
  return delta_ && busy_ ? static_cast<int64_t>(delta_->tokens.size()) : 0;
}

void TokenStream::Next() {
  std::unique_lock lock(mutex_);
  busy_ = false;
  Deliver(std::move(lock));
}

void TokenStream::Abandon() {
  std::lock_guard lock(mutex_);
  abandoned_ = true;
  delta_.reset();
}

void TokenStream::DeliverAdded() {
  std::unique_lock lock(mutex_);
  added_ = false;
  if (!busy_) Deliver(std::move(lock));
}

void TokenStream::Offer(std::unique_lock<std::mutex> lock) {
  if (busy_) return;
  if (delivery_ == nullptr) return Deliver(std::move(lock));
  if (std::exchange(added_, true)) return;
  lock.unlock();
  delivery_->Add(shared_from_this());
}

// After on_end the reader may be gone, and this with it: nothing is touched after either call.
void TokenStream::Deliver(std::unique_lock<std::mutex> lock) {
  if (delta_) {
    busy_ = true;
    TokenDelta delta = *std::exchange(delta_, std::nullopt);
    lock.unlock();
    reader_.on_delta(std::move(delta));
  } else if (result_) {
    busy_ = true;
    absl::StatusOr<GenerateResult> result = *std::exchange(result_, std::nullopt);
    lock.unlock();
    reader_.on_end(std::move(result));
  }
}

}  // namespace diptych::language
