// Sends the reply to a request over its connection.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "gateway/http/body_budgets.h"
#include "gateway/http/http_connection.h"

namespace diptych::gateway {

// Hands everything to the connection's strand, and nothing once it is no longer the running one.
class HttpConnection::Exchange final : public HttpExchange, public std::enable_shared_from_this<Exchange> {
 public:
  // `memory` is that of the request; empty if it had no body.
  explicit Exchange(std::shared_ptr<HttpConnection> connection, BodyBudgets::Lease memory = {})
      : connection_(std::move(connection)), memory_(std::move(memory)) {}

  void Reply(HttpReply reply) override {
    Post([reply = std::move(reply)](HttpConnection& connection) {
      connection.WriteReply(reply);
      connection.EndExchange();
    });
  }

  void StartEvents() override {
    Post([](HttpConnection& connection) { connection.WriteEventsHeader(); });
  }

  void SendEvent(HttpEvent event, std::function<void(bool)> done) override {
    const bool posted = TryPost([self = shared_from_this(), event = std::move(event), done] {
      if (!self->running()) return done(false);
      self->connection_->WriteEvent(event, done);
    });
    if (!posted) done(false);
  }

  void EndEvents() override {
    Post([](HttpConnection& connection) { connection.FinishEvents(); });
  }

  void OnGone(std::function<void()> gone) override {
    const bool posted = TryPost([self = shared_from_this(), gone] {
      if (self->gone_) return gone();
      if (self->running()) self->on_gone_ = gone;
    });
    if (!posted) gone();
  }

  absl::Status Keep(int64_t bytes) override {
    MutexLock lock(mutex_);
    if (left_ || memory_.is_empty()) return absl::OkStatus();
    if (!memory_.MayGrow(bytes)) return absl::OutOfRangeError("a reply takes more memory than one caller may have");
    return memory_.Grow(bytes);
  }

  // On the strand.
  void Left() {
    MutexLock lock(mutex_);
    left_ = true;
    memory_.Release();
  }
  void Ended() { on_gone_ = nullptr; }
  void Gone() {
    gone_ = true;
    if (on_gone_) std::exchange(on_gone_, nullptr)();
  }

 private:
  bool running() const { return connection_->exchange_.get() == this && connection_->exchange_runs(); }

  template <typename Function>
  bool TryPost(Function function) {
    return connection_->shared_->TryPost(connection_->stream_.get_executor(), std::move(function));
  }

  template <typename Function>
  void Post(Function function) {
    (void)TryPost([self = shared_from_this(), function = std::move(function)] {
      if (self->running()) function(*self->connection_);
    });
  }

  const std::shared_ptr<HttpConnection> connection_;
  Mutex mutex_;
  bool left_ ABSL_GUARDED_BY(mutex_) = false;  // nothing of the reply is held any more
  BodyBudgets::Lease memory_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> on_gone_;
  bool gone_ = false;
};

}  // namespace diptych::gateway
