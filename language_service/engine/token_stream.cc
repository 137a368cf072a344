#include "language_service/engine/token_stream.h"

#include <iterator>
#include <utility>

#include "common/mutex.h"
#include "language_service/engine/token_delivery.h"

namespace diptych::language {

void TokenStream::DeliverOn(TokenDelivery& delivery) {
  MutexLock lock(mutex_);
  delivery_ = &delivery;
}

void TokenStream::Push(TokenDelta delta) {
  Step step;
  {
    MutexLock lock(mutex_);
    if (abandoned_) return;
    if (delta_) {
      delta_->text += delta.text;
      std::move(delta.tokens.begin(), delta.tokens.end(), std::back_inserter(delta_->tokens));
    } else {
      delta_ = std::move(delta);
    }
    step = Offer();
  }
  Do(std::move(step));
}

void TokenStream::GiveUpReader() {
  if (reader_.on_stuck) reader_.on_stuck();
}

void TokenStream::End(absl::StatusOr<GenerateResult> result) {
  Step step;
  {
    MutexLock lock(mutex_);
    result_ = std::move(result);
    step = Offer();
  }
  Do(std::move(step));
}

int64_t TokenStream::unread_tokens() const {
  MutexLock lock(mutex_);
  return delta_ && busy_ ? static_cast<int64_t>(delta_->tokens.size()) : 0;
}

void TokenStream::Next() {
  Step step;
  {
    MutexLock lock(mutex_);
    busy_ = false;
    step = TakeNext();
  }
  Do(std::move(step));
}

void TokenStream::Abandon() {
  MutexLock lock(mutex_);
  abandoned_ = true;
  delta_.reset();
}

void TokenStream::DeliverAdded() {
  Step step;
  {
    MutexLock lock(mutex_);
    added_ = false;
    if (!busy_) step = TakeNext();
  }
  Do(std::move(step));
}

TokenStream::Step TokenStream::Offer() {
  if (busy_) return {};
  if (delivery_ == nullptr) return TakeNext();
  if (std::exchange(added_, true)) return {};
  return {.add_to = delivery_};
}

TokenStream::Step TokenStream::TakeNext() {
  Step step;
  if (delta_) {
    step.delta = std::exchange(delta_, std::nullopt);
  } else {
    step.result = std::exchange(result_, std::nullopt);
  }
  busy_ = busy_ || step.delta || step.result;
  return step;
}

// After on_end the reader may be gone, and this with it: nothing is touched after any of the calls.
void TokenStream::Do(Step step) {
  if (step.add_to != nullptr) return step.add_to->Add(shared_from_this());
  if (step.delta) return reader_.on_delta(*std::move(step.delta));
  if (step.result) reader_.on_end(*std::move(step.result));
}

}  // namespace diptych::language
