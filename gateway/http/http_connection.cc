#include "gateway/http/http_connection.h"

#include <poll.h>

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/catch_exceptions.h"
#include "common/http_host.h"

namespace diptych::gateway {

namespace beast = boost::beast;
namespace http = beast::http;
namespace net = boost::asio;

namespace {

constexpr size_t kReadAhead = 16 << 10;  // bytes
constexpr std::chrono::seconds kLinger(2);
constexpr std::chrono::seconds kLookInterval(1);
constexpr size_t kPieceBytes = 64 << 10;  // of a body, read at a time

// `name`: an http::field or a string.
template <typename Name>
std::string HeaderOf(const http::request_header<>& request, const Name& name) {
  const auto value = request[name];
  return std::string(value.data(), value.size());
}

HttpRequest RequestOf(const http::request_header<>& message) {
  const auto target = message.target();
  return {.method = std::string(message.method_string().data(), message.method_string().size()),
          .path = std::string(target.data(), std::min(target.find('?'), target.size())),
          .content_type = HeaderOf(message, http::field::content_type),
          .content_encoding = HeaderOf(message, http::field::content_encoding),
          .request_id = HeaderOf(message, "x-request-id"),
          .if_none_match = HeaderOf(message, http::field::if_none_match),
          .authorization = HeaderOf(message, http::field::authorization),
          .body = {}};
}

// True for what the bytes are at fault for; everything else is the connection's end.
bool IsMalformed(const boost::system::error_code& error) {
  return error.category() == http::make_error_code(http::error::bad_version).category() &&
         error != http::error::end_of_stream && error != http::error::partial_message;
}

// Some callers end a body with an empty line that is no part of it.
void DropEmptyLines(beast::flat_buffer& buffer) {
  const auto data = static_cast<const char*>(buffer.data().data());
  size_t size = 0;
  while (size < buffer.size() && (data[size] == '\r' || data[size] == '\n')) ++size;
  buffer.consume(size);
}

std::string StatusLine(int status) {
  const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  return absl::StrCat("HTTP/1.1 ", status, " ", std::string(reason.data(), reason.size()), "\r\n");
}

std::string HeaderLines(const std::vector<std::pair<std::string, std::string>>& headers) {
  std::string lines;
  for (const auto& [name, value] : headers) absl::StrAppend(&lines, name, ": ", value, "\r\n");
  return lines;
}

std::string TextOf(const HttpEvent& event) {
  return absl::StrCat(event.name.empty() ? "" : absl::StrCat("event: ", event.name, "\n"), "data: ", event.data,
                      "\n\n");
}

// 204 has no body, and 304 speaks of the one that the caller has: neither may give the size of its own.
std::string BodyHeaders(const HttpReply& reply) {
  if (reply.status == 204) return "";
  const std::string type = absl::StrCat("content-type: ", reply.content_type, "\r\n");
  return reply.status == 304 ? type : absl::StrCat(type, "content-length: ", reply.body.size(), "\r\n");
}

}  // namespace

// Hands everything to the connection's strand, and nothing once it is no longer the running one.
class HttpConnection::Exchange final : public HttpExchange, public std::enable_shared_from_this<Exchange> {
 public:
  explicit Exchange(std::shared_ptr<HttpConnection> connection) : connection_(std::move(connection)) {}

  void Reply(HttpReply reply) override {
    Post([reply = std::move(reply)](HttpConnection& connection) {
      connection.WriteReply(reply);
      connection.EndExchange();
    });
  }

  void StartEvents(std::vector<std::pair<std::string, std::string>> headers) override {
    Post([headers = std::move(headers)](HttpConnection& connection) { connection.WriteEventsHeader(headers); });
  }

  void SendEvent(HttpEvent event, std::function<void(bool)> done) override {
    if (stopped()) return done(false);
    net::post(connection_->stream_.get_executor(),
              [self = shared_from_this(), event = std::move(event), done = std::move(done)]() mutable {
                if (!self->running()) return done(false);
                self->connection_->WriteChunk(TextOf(event), std::move(done));
              });
  }

  void EndEvents() override {
    Post([](HttpConnection& connection) { connection.FinishEvents(); });
  }

  void OnGone(std::function<void()> gone) override {
    if (stopped()) return gone();
    net::post(connection_->stream_.get_executor(), [self = shared_from_this(), gone = std::move(gone)]() mutable {
      if (self->gone_) return gone();
      if (self->running()) self->on_gone_ = std::move(gone);
    });
  }

  // On the strand.
  void Ended() { on_gone_ = nullptr; }
  void Gone() {
    gone_ = true;
    if (on_gone_) std::exchange(on_gone_, nullptr)();
  }

 private:
  bool running() const { return connection_->exchange_.get() == this && connection_->exchange_runs(); }

  // A stopped server runs nothing any more; what it was given would keep it alive for ever.
  bool stopped() const { return connection_->shared_->io.stopped(); }

  template <typename Function>
  void Post(Function function) {
    if (stopped()) return;
    net::post(connection_->stream_.get_executor(), [self = shared_from_this(), function = std::move(function)] {
      if (self->running()) function(*self->connection_);
    });
  }

  const std::shared_ptr<HttpConnection> connection_;
  std::function<void()> on_gone_;
  bool gone_ = false;
};

HttpConnection::HttpConnection(net::ip::tcp::socket socket, std::shared_ptr<HttpShared> shared)
    : shared_(std::move(shared)),
      stream_(std::move(socket)),
      // Also the longest line that a chunk may begin with.
      buffer_(std::max<size_t>(shared_->options.max_header_bytes, kReadAhead) + kReadAhead),
      silence_(stream_.get_executor()),
      leaving_(stream_.get_executor()) {
  ErrorCode ignored;
  stream_.socket().set_option(net::ip::tcp::no_delay(true), ignored);
}

void HttpConnection::Start() {
  net::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->Listen(); });
}

void HttpConnection::Turn(int status, const std::string& message) {
  net::dispatch(stream_.get_executor(),
                [self = shared_from_this(), status, message] { self->Refuse(status, message); });
}

void HttpConnection::CloseWhenIdle() {
  net::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->phase_ == Phase::kIdle) self->Shut();
  });
}

bool HttpConnection::GiveUpIfIdle() {
  if (!idle_.exchange(false)) return false;
  CloseWhenIdle();
  return true;
}

void HttpConnection::Close() {
  net::post(stream_.get_executor(), [self = shared_from_this()] { self->Shut(); });
}

void HttpConnection::Listen() {
  if (listening_ || phase_ == Phase::kShut) return;
  if (phase_ == Phase::kIdle) {
    DropEmptyLines(buffer_);
    if (buffer_.size() > 0) return ReadHeader();
    stream_.expires_after(absl::ToChronoNanoseconds(shared_->options.idle_timeout));
    idle_ = true;
  } else if (buffer_.size() >= kReadAhead) {
    return LookForLeaving();
  }
  listening_ = true;
  stream_.async_read_some(buffer_.prepare(kReadAhead),
                          [self = shared_from_this()](ErrorCode error, size_t size) { self->OnBytes(error, size); });
}

void HttpConnection::OnBytes(ErrorCode error, size_t size) {
  listening_ = idle_ = false;
  if (phase_ == Phase::kIdle) silence_.cancel();
  // OnWritten calls the read back where the next request is there already.
  const bool called_back = error == net::error::operation_aborted && phase_ == Phase::kIdle && buffer_.size() > 0;
  if (error && !called_back) return Shut();
  if (!error) buffer_.commit(size);
  Listen();
}

void HttpConnection::LookForLeaving() {
  if (std::exchange(looking_, true)) return;
  leaving_.expires_after(kLookInterval);
  leaving_.async_wait([self = shared_from_this()](ErrorCode error) {
    self->looking_ = false;
    if (error || (!self->exchange_runs() && self->phase_ != Phase::kEnding)) return;
    pollfd socket{.fd = self->stream_.socket().native_handle(), .events = POLLRDHUP, .revents = 0};
    ::poll(&socket, 1, 0) > 0 ? self->Shut() : self->Listen();
  });
}

void HttpConnection::ReadHeader() {
  phase_ = Phase::kReading;
  parser_.emplace();
  parser_->header_limit(shared_->options.max_header_bytes);
  parser_->body_limit(static_cast<uint64_t>(shared_->options.max_body_bytes));
  LimitRead(shared_->options.header_timeout);
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = shared_from_this()](ErrorCode error, size_t) { self->OnHeader(error); });
}

void HttpConnection::LimitRead(absl::Duration limit) {
  timed_out_ = false;
  stream_.expires_never();
  silence_.expires_after(absl::ToChronoNanoseconds(limit));
  silence_.async_wait([self = shared_from_this(), read = ++reads_](ErrorCode error) {
    if (error || self->phase_ == Phase::kShut || self->reads_ != read) return;
    self->timed_out_ = true;
    self->stream_.cancel();
  });
}

void HttpConnection::EndOfRead() {
  ++reads_;
  silence_.cancel();
}

void HttpConnection::OnHeader(ErrorCode error) {
  EndOfRead();
  if (error && timed_out_) return Refuse(408, "the header took too long");
  if (error == http::error::header_limit) return Refuse(431, "the header is too large");
  if (error == http::error::body_limit) return Refuse(413, "the body is too large");
  if (IsMalformed(error)) return Refuse(400, "this is not HTTP/1.1");
  if (error) return Shut();
  // A transfer that is neither of known length nor in chunks: what follows would be taken for another request.
  const bool has_encoding = parser_->get().count(http::field::transfer_encoding) > 0;
  const bool in_chunks = parser_->chunked() && parser_->get().version() >= 11;
  if (has_encoding && (!in_chunks || parser_->get().count(http::field::transfer_encoding) > 1 ||
                       !absl::EqualsIgnoreCase(HeaderOf(parser_->get(), http::field::transfer_encoding), "chunked"))) {
    return Refuse(400, "the only transfer-encoding here is chunked, and that of HTTP/1.1");
  }
  keep_alive_ = parser_->get().keep_alive();
  head_only_ = parser_->get().method() == http::verb::head;
  const std::string host = HeaderOf(parser_->get(), http::field::host);
  if (parser_->get().count(http::field::host) > 1) return Refuse(400, "there is more than one host");
  if (!host.empty() && !IsAllowedHost(host, shared_->options.hosts)) {
    return Refuse(403, "this server does not go by that host name; its operator can add it to --http_hosts");
  }
  parser_->chunked() ? BeginBody(std::nullopt) : BeginBody(parser_->content_length().value_or(0));
}

void HttpConnection::BeginBody(std::optional<uint64_t> length) {
  if (length == 0) return Serve();
  int64_t most = shared_->options.max_body_bytes;
  std::string caller;
  if (shared_->check) {
    HttpVerdict verdict = shared_->check(RequestOf(parser_->get()));
    if (verdict.refusal) return Refuse(*verdict.refusal);
    most = std::min(most, verdict.max_body_bytes);
    caller = std::move(verdict.caller);
  }
  if (length && *length > static_cast<uint64_t>(most)) return Refuse(413, "the body is too large");
  parser_->body_limit(static_cast<uint64_t>(most));
  ErrorCode gone;
  const auto peer = stream_.socket().remote_endpoint(gone);
  if (gone) return Shut();
  lease_ = shared_->bodies.Open(peer.address(), caller);
  body_length_ = length;
  body_deadline_ = absl::Now() + shared_->options.body_timeout;
  piece_.resize(std::min<uint64_t>(length.value_or(kPieceBytes), kPieceBytes));
  if (!absl::EqualsIgnoreCase(HeaderOf(parser_->get(), http::field::expect), "100-continue")) return ReadBody();
  static constexpr char kContinue[] = "HTTP/1.1 100 Continue\r\n\r\n";
  net::async_write(stream_, net::buffer(kContinue, sizeof kContinue - 1),
                   [self = shared_from_this()](ErrorCode failed, size_t) { failed ? self->Shut() : self->ReadBody(); });
}

void HttpConnection::ReadBody() {
  auto& body = parser_->get().body();
  body.data = piece_.data();
  body.size = piece_.size();
  body.more = true;
  LimitRead(std::min(body_deadline_ - absl::Now(), shared_->options.byte_timeout));
  http::async_read_some(stream_, buffer_, *parser_,
                        [self = shared_from_this()](ErrorCode error, size_t) { self->OnBody(error); });
}

void HttpConnection::OnBody(ErrorCode error) {
  EndOfRead();
  if (error == http::error::need_buffer) error = {};  // the piece is full
  if (error && timed_out_) return Refuse(408, "the body took too long");
  if (error == http::error::body_limit) return Refuse(413, "the body is too large");
  if (IsMalformed(error)) return Refuse(400, "the body is not what its header says");
  if (error) return Shut();
  const size_t size = piece_.size() - parser_->get().body().size;
  if (!KeepBody(size).ok()) return Refuse(429, "too many requests are being read");
  body_.append(piece_.data(), size);
  parser_->is_done() ? Serve() : ReadBody();
}

absl::Status HttpConnection::KeepBody(size_t bytes) {
  if (body_.size() + bytes <= body_.capacity() && body_.size() + bytes <= static_cast<size_t>(lease_.bytes())) {
    return absl::OkStatus();
  }
  const uint64_t most = body_length_.value_or(static_cast<uint64_t>(shared_->options.max_body_bytes));
  const uint64_t wanted = std::min<uint64_t>(most, std::max<uint64_t>(2 * body_.size(), body_.size() + bytes));
  if (const absl::Status status = lease_.Grow(static_cast<int64_t>(wanted) - lease_.bytes()); !status.ok()) {
    return status;
  }
  body_.reserve(wanted);
  return absl::OkStatus();
}

void HttpConnection::Serve() {
  const http::request<http::buffer_body> message = parser_->release();
  parser_.reset();
  piece_ = {};
  lease_.ShrinkTo(static_cast<int64_t>(body_.size()));
  HttpRequest request = RequestOf(message);
  request.body = std::exchange(body_, {});
  chunked_ = message.version() >= 11;
  phase_ = Phase::kAnswering;
  exchange_ = std::make_shared<Exchange>(shared_from_this());
  stream_.expires_never();
  Listen();
  Handle(std::move(request));
}

void HttpConnection::Handle(HttpRequest request) {
  const bool has_body = !request.body.empty();
  auto work = [shared = shared_, exchange = exchange_, request = std::move(request)]() mutable {
    const absl::Status status = CatchExceptions("http", [&] {
      shared->handler(std::move(request), exchange);
      return absl::OkStatus();
    });
    if (!status.ok()) exchange->Reply(shared->refuse(500, "the server failed"));
  };
  has_body ? net::post(shared_->workers, std::move(work)) : work();
}

void HttpConnection::Refuse(int status, const std::string& message) {
  Refuse(shared_->refuse(status, message));
}

void HttpConnection::Refuse(const HttpReply& reply) {
  parser_.reset();
  body_ = {};
  piece_ = {};
  lease_.Release();
  phase_ = Phase::kRefusing;
  exchange_ = std::make_shared<Exchange>(shared_from_this());
  WriteReply(reply);
  EndExchange();
}

void HttpConnection::WriteReply(const HttpReply& reply) {
  keep_alive_ = keep_alive_ && phase_ != Phase::kRefusing && !shared_->connections->draining();
  Write({absl::StrCat(StatusLine(reply.status), HeaderLines(reply.headers), BodyHeaders(reply),
                      "connection: ", keep_alive_ ? "keep-alive" : "close", "\r\n\r\n", head_only_ ? "" : reply.body),
         nullptr});
}

void HttpConnection::WriteEventsHeader(const std::vector<std::pair<std::string, std::string>>& headers) {
  keep_alive_ = keep_alive_ && chunked_ && !shared_->connections->draining();
  phase_ = Phase::kStreaming;
  Write({absl::StrCat(StatusLine(200), HeaderLines(headers),
                      "content-type: text/event-stream\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n",
                      chunked_ ? "transfer-encoding: chunked\r\n" : "",
                      "connection: ", keep_alive_ ? "keep-alive" : "close", "\r\n\r\n"),
         nullptr});
}

void HttpConnection::WriteChunk(std::string data, std::function<void(bool)> done) {
  if (chunked_) data = absl::StrCat(absl::Hex(data.size()), "\r\n", data, "\r\n");
  Write({std::move(data), std::move(done)});
}

void HttpConnection::FinishEvents() {
  Write({chunked_ ? "0\r\n\r\n" : "", nullptr});  // also of nothing: its end is what ends the exchange
  EndExchange();
}

void HttpConnection::Write(Piece piece) {
  pieces_.push_back(std::move(piece));
  if (!writing_) WriteNext();
}

void HttpConnection::WriteNext() {
  writing_ = true;
  silence_.cancel();
  stream_.expires_after(absl::ToChronoNanoseconds(shared_->options.write_timeout));
  net::async_write(stream_, net::buffer(pieces_.front().bytes),
                   [self = shared_from_this()](ErrorCode error, size_t) { self->OnWritten(error); });
}

void HttpConnection::OnWritten(ErrorCode error) {
  writing_ = false;
  if (error || phase_ == Phase::kShut) return Shut();
  Piece piece = std::move(pieces_.front());
  pieces_.pop_front();
  if (piece.done) piece.done(true);
  if (!pieces_.empty()) return WriteNext();
  stream_.expires_never();
  if (phase_ == Phase::kStreaming) return Ping();
  exchange_.reset();
  lease_.Release();
  if (phase_ == Phase::kRefusing) return Linger();
  if (!keep_alive_) return Shut();
  phase_ = Phase::kIdle;
  if (!listening_) return Listen();
  if (buffer_.size() > 0) return stream_.cancel();
  idle_ = true;
  // The read that waits already has no time limit of its own.
  After(shared_->options.idle_timeout, [this] { Shut(); });
}

void HttpConnection::Ping() {
  After(shared_->options.ping_interval, [this] { WriteChunk(": ping\n\n", nullptr); });
}

void HttpConnection::After(absl::Duration silence, std::function<void()> action) {
  silence_.expires_after(absl::ToChronoNanoseconds(silence));
  silence_.async_wait([self = shared_from_this(), action = std::move(action)](ErrorCode error) {
    if (!error && self->phase_ != Phase::kShut && !self->writing_) action();
  });
}

// Closing while the caller still sends would reset the connection before it has read why it was refused.
void HttpConnection::Linger() {
  ErrorCode ignored;
  stream_.socket().shutdown(net::ip::tcp::socket::shutdown_send, ignored);
  stream_.expires_after(kLinger);
  buffer_.clear();
  Discard();
}

void HttpConnection::Discard() {
  stream_.async_read_some(buffer_.prepare(kReadAhead), [self = shared_from_this()](ErrorCode error, size_t) {
    error ? self->Shut() : self->Discard();
  });
}

void HttpConnection::EndExchange() {
  if (phase_ != Phase::kRefusing) phase_ = Phase::kEnding;
  exchange_->Ended();
}

// Whatever ends the connection comes here. Operations that still run hold it until they have failed.
void HttpConnection::Shut() {
  if (phase_ != Phase::kShut) {
    silence_.cancel();
    leaving_.cancel();
    const bool gone = exchange_runs();
    phase_ = Phase::kShut;
    if (gone) exchange_->Gone();
    ErrorCode ignored;
    stream_.socket().shutdown(net::ip::tcp::socket::shutdown_both, ignored);
    stream_.close();
  }
  if (writing_ || listening_) return;
  for (Piece& piece : std::exchange(pieces_, {})) {
    if (piece.done) piece.done(false);
  }
  exchange_.reset();
  parser_.reset();
  lease_.Release();
  shared_->connections->Remove(this);
}

}  // namespace diptych::gateway
