#include "gateway/http/http_connection.h"

#include <poll.h>

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <utility>

#include "gateway/http/http_exchange.h"

namespace diptych::gateway {

namespace beast = boost::beast;
namespace net = boost::asio;

namespace {

constexpr size_t kReadAhead = 16 << 10;  // bytes
constexpr std::chrono::seconds kLinger(2);
constexpr absl::Duration kFirstLook = absl::Milliseconds(100);  // for a caller that closed its side; then twice as long
constexpr absl::Duration kLookInterval = absl::Seconds(1);

// Some callers end a body with an empty line that is no part of it.
void DropEmptyLines(beast::flat_buffer& buffer) {
  const auto data = static_cast<const char*>(buffer.data().data());
  size_t size = 0;
  while (size < buffer.size() && (data[size] == '\r' || data[size] == '\n')) ++size;
  buffer.consume(size);
}

}  // namespace

HttpConnection::HttpConnection(net::ip::tcp::socket socket, std::shared_ptr<net::ssl::context> tls,
                               std::shared_ptr<HttpShared> shared)
    : shared_(std::move(shared)),
      stream_(std::move(socket), std::move(tls)),
      // Also the longest line that a chunk may begin with.
      buffer_(std::max<size_t>(shared_->options.max_header_bytes, kReadAhead) + kReadAhead),
      silence_(stream_.get_executor()),
      leaving_(stream_.get_executor()) {
  ErrorCode ignored;
  stream_.tcp().socket().set_option(net::ip::tcp::no_delay(true), ignored);
}

void HttpConnection::Start() {
  net::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->Greet(); });
}

void HttpConnection::Greet() {
  if (!stream_.has_tls()) return BeIdle();
  stream_.tcp().expires_after(absl::ToChronoNanoseconds(shared_->options.header_timeout));
  listening_ = true;
  stream_.AsyncHandshake([self = shared_from_this()](ErrorCode error) {
    self->listening_ = false;
    error || self->phase_ == Phase::kShut ? self->OnGreetingFailed(error) : self->BeIdle();
  });
}

void HttpConnection::OnGreetingFailed(ErrorCode error) {
  const bool is_plain = error.category() == net::error::get_ssl_category() &&
                        ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_HTTP_REQUEST;  // NOLINT
  if (!is_plain || phase_ == Phase::kShut) return Shut();
  static constexpr char kSayHttps[] =
      "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 38\r\nconnection: close\r\n\r\n"
      "this port speaks HTTPS: say https://\r\n";
  listening_ = true;
  net::async_write(stream_.tcp(), net::buffer(kSayHttps, sizeof kSayHttps - 1),
                   [self = shared_from_this()](ErrorCode, size_t) {
                     self->listening_ = false;
                     self->Shut();
                   });
}

void HttpConnection::CloseWhenIdle() {
  net::post(stream_.get_executor(), [self = shared_from_this()] { self->ShutIfIdle(); });
}

void HttpConnection::TurnAway() {
  net::post(stream_.get_executor(), [self = shared_from_this()] { self->TurnAwayIfIdle(); });
}

bool HttpConnection::IsIdle() {
  ErrorCode ignored;
  const bool asks = stream_.tcp().socket().available(ignored) > 0;  // and is about to be read
  return phase_ == Phase::kIdle && !asks;
}

void HttpConnection::ShutIfIdle() {
  if (IsIdle()) Shut();
}

bool HttpConnection::GiveUpIfIdle() {
  if (!admitted_ || !idle_.exchange(false)) return false;
  net::post(stream_.get_executor(), [self = shared_from_this()] {
    const bool goes = self->expendable_ || self->phase_ == Phase::kReadingHeader;
    goes ? self->Shut() : self->ShutIfIdle();
  });
  return true;
}

void HttpConnection::Close() {
  net::post(stream_.get_executor(), [self = shared_from_this()] { self->Shut(); });
}

void HttpConnection::BeIdle() {
  if (phase_ == Phase::kShut) return;
  phase_ = Phase::kIdle;
  expendable_ = false;
  idle_until_ = FromNow(shared_->options.idle_timeout);
  if (!listening_) return Listen();
  if (buffer_.size() > 0) return stream_.tcp().cancel();
  idle_ = true;
  // The read that waits already has no time limit of its own.
  After(shared_->options.idle_timeout, [this] { Shut(); });
}

void HttpConnection::Listen() {
  if (listening_ || phase_ == Phase::kShut) return;
  if (phase_ == Phase::kIdle) {
    DropEmptyLines(buffer_);
    if (buffer_.size() > 0) return ReadHeader();
    if (sender_ == Sender::kAllRead) return Shut();  // Asio would wait forever for what follows an end
    stream_.tcp().expires_at(idle_until_);           // empty lines do not put it off
    idle_ = true;
  } else if (sender_ != Sender::kOpen || buffer_.size() >= kReadAhead) {
    return LookForLeaving();
  }
  listening_ = true;
  stream_.async_read_some(buffer_.prepare(kReadAhead),
                          [self = shared_from_this()](ErrorCode error, size_t size) { self->OnBytes(error, size); });
}

void HttpConnection::OnBytes(ErrorCode error, size_t size) {
  listening_ = false;
  idle_ = expendable_;
  if (phase_ == Phase::kShut) return Shut();
  if (phase_ == Phase::kIdle) silence_.cancel();
  // OnWritten calls the read back where the next request is there already.
  const bool called_back = error == net::error::operation_aborted && phase_ == Phase::kIdle && buffer_.size() > 0;
  if (error == net::error::eof && phase_ != Phase::kIdle) {
    sender_ = Sender::kAllRead;
    look_interval_ = kFirstLook;
  } else if (error && !called_back) {
    return Shut();
  }
  if (!error) buffer_.commit(size);
  admitted_ ? Listen() : Admit();
}

void HttpConnection::Admit() {
  admitted_ = true;
  shared_->connections->Admit(this) ? Listen() : Refuse(503, "all connections of this server are taken");
}

void HttpConnection::LookForLeaving() {
  if (std::exchange(looking_, true)) return;
  leaving_.expires_after(absl::ToChronoNanoseconds(sender_ == Sender::kOpen ? kLookInterval : look_interval_));
  leaving_.async_wait([self = shared_from_this()](ErrorCode error) {
    self->looking_ = false;
    if (!error && (self->exchange_runs() || self->phase_ == Phase::kEnding)) self->OnLook();
  });
}

void HttpConnection::OnLook() {
  pollfd socket{.fd = stream_.tcp().socket().native_handle(), .events = POLLRDHUP, .revents = 0};
  ::poll(&socket, 1, 0);
  if ((socket.revents & (POLLERR | POLLHUP)) != 0) return Shut();
  if ((socket.revents & POLLRDHUP) != 0 && sender_ == Sender::kOpen) {
    sender_ = Sender::kClosed;
    look_interval_ = kFirstLook;
  }
  if (sender_ != Sender::kOpen) {
    Probe();
    look_interval_ = std::min(2 * look_interval_, shared_->options.ping_interval);
  }
  Listen();
}

// Closing while the caller still sends would reset the connection before it has read why it was refused.
void HttpConnection::Linger() {
  SetExpendable(false);
  stream_.tcp().expires_after(kLinger);
  if (!stream_.has_tls()) return Discard();
  stream_.AsyncFarewell([self = shared_from_this()](ErrorCode error) {
    error && self->phase_ != Phase::kShut ? self->Discard() : self->Shut();
  });
}

void HttpConnection::Discard() {
  ErrorCode ignored;
  stream_.tcp().socket().shutdown(net::ip::tcp::socket::shutdown_send, ignored);
  buffer_.clear();
  stream_.tcp().async_read_some(buffer_.prepare(kReadAhead), [self = shared_from_this()](ErrorCode error, size_t) {
    error ? self->Shut() : self->Discard();
  });
}

// Every end of the connection comes here. Operations that still run hold it until they have failed.
void HttpConnection::Shut() {
  if (phase_ != Phase::kShut) {
    silence_.cancel();
    leaving_.cancel();
    const bool gone = exchange_runs();
    phase_ = Phase::kShut;
    if (gone) exchange_->Gone();
    ErrorCode ignored;
    stream_.tcp().socket().shutdown(net::ip::tcp::socket::shutdown_both, ignored);
    stream_.tcp().close();
  }
  if (writing_ || listening_ || reading_) return;
  for (Piece& piece : std::exchange(pieces_, {})) {
    if (piece.done) piece.done(false);
  }
  LeaveExchange();
  parser_.reset();
  lease_.Release();
  shared_->connections->Remove(this);
}

}  // namespace diptych::gateway
