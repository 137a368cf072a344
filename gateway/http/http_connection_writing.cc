// The part of HttpConnection that writes replies and event streams.
#include <boost/asio/write.hpp>
#include <boost/beast/http/status.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gateway/http/http_connection.h"
#include "gateway/http/http_exchange.h"

namespace diptych::gateway {

namespace http = boost::beast::http;
namespace net = boost::asio;

namespace {

constexpr char kPingEvent[] = ": ping\n\n";
constexpr size_t kPartBytes = 256 << 10;  // of a piece; a caller has write_timeout to take it

std::string StatusLine(int status) {
  const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  return absl::StrCat("HTTP/1.1 ", status, " ", std::string(reason.data(), reason.size()), "\r\n");
}

std::string HeaderLines(const std::vector<std::pair<std::string, std::string>>& headers) {
  std::string lines;
  for (const auto& [name, value] : headers) absl::StrAppend(&lines, name, ": ", value, "\r\n");
  return lines;
}

std::string IdLine(const std::string& request_id) {
  return request_id.empty() ? "" : absl::StrCat("x-request-id: ", request_id, "\r\n");
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

void HttpConnection::Refuse(int status, const std::string& message) {
  Refuse(shared_->refuse(status, message));
}

void HttpConnection::RefuseBody() {
  Refuse(413, absl::StrCat("the body is too large: a request to this path takes ", most_body_bytes_, " bytes at most"));
}

void HttpConnection::TellFailure(int status, std::string_view reason) {
  if (!shared_->options.on_failed) return;
  const SteadyDuration took = request_id_.empty() ? SteadyDuration() : SteadyClock::now() - header_at_;
  shared_->options.on_failed(
      {.status = status, .reason = reason, .request_id = request_id_, .caller = caller_, .duration = took});
}

void HttpConnection::Refuse(const HttpReply& reply) {
  parser_.reset();
  body_ = {};
  piece_ = {};
  lease_.Release();
  shared_->connections->BodyEnds(this);
  phase_ = Phase::kRefusing;
  exchange_ = std::make_shared<Exchange>(shared_from_this());
  WriteReply(reply);
  EndExchange();
}

// Nothing is waited for: a socket that has sent nothing yet takes so little at once. Whoever sends a request by now
// finds the reply before the end of the connection.
void HttpConnection::TurnAwayIfIdle() {
  if (!IsIdle()) return;
  TellFailure(503, "QUEUE_FULL");
  if (!stream_.has_tls()) {
    const HttpReply reply = shared_->refuse(503, "too many connections wait for their request; come back with it");
    const std::string bytes = absl::StrCat(StatusLine(reply.status), HeaderLines(reply.headers), BodyHeaders(reply),
                                           "connection: close\r\n\r\n", reply.body);
    ErrorCode ignored;
    stream_.tcp().socket().non_blocking(true, ignored);
    stream_.tcp().socket().write_some(net::buffer(bytes), ignored);
  }
  Shut();
}

bool HttpConnection::MayGoOn() const {
  return !shared_->connections->draining() && TimeSince(opened_) < shared_->options.connection_age;
}

void HttpConnection::WriteReply(const HttpReply& reply) {
  if (reply.status >= 400 && !reply.is_logged) TellFailure(reply.status, reply.reason);
  const bool is_last = sender_ != Sender::kOpen && buffer_.size() == 0;
  keep_alive_ = keep_alive_ && !is_last && phase_ != Phase::kRefusing && MayGoOn();
  Write({absl::StrCat(StatusLine(reply.status), IdLine(request_id_), HeaderLines(reply.headers), HeaderLines(cors_),
                      BodyHeaders(reply), "connection: ", keep_alive_ ? "keep-alive" : "close", "\r\n\r\n",
                      head_only_ ? "" : reply.body),
         nullptr});
}

void HttpConnection::WriteEventsHeader() {
  keep_alive_ = keep_alive_ && chunked_ && MayGoOn();
  phase_ = Phase::kStreaming;
  Write({absl::StrCat(StatusLine(200), IdLine(request_id_), HeaderLines(cors_),
                      "content-type: text/event-stream\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n",
                      chunked_ ? "transfer-encoding: chunked\r\n" : "",
                      "connection: ", keep_alive_ ? "keep-alive" : "close", "\r\n\r\n"),
         nullptr});
}

void HttpConnection::WriteChunk(std::string data, std::function<void(bool)> done) {
  if (chunked_) data = absl::StrCat(absl::Hex(data.size()), "\r\n", data, "\r\n");
  Write({std::move(data), std::move(done)});
}

void HttpConnection::WriteEvent(const HttpEvent& event, std::function<void(bool)> done) {
  WriteChunk(TextOf(event), std::move(done));
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
  stream_.tcp().expires_after(absl::ToChronoNanoseconds(shared_->options.write_timeout));
  const Piece& piece = pieces_.front();
  net::async_write(stream_, net::buffer(net::buffer(piece.bytes) + piece.written, kPartBytes),
                   [self = shared_from_this()](ErrorCode error, size_t size) { self->OnWritten(error, size); });
}

void HttpConnection::OnWritten(ErrorCode error, size_t size) {
  writing_ = false;
  if (error || phase_ == Phase::kShut) return Shut();
  pieces_.front().written += size;
  if (pieces_.front().written < pieces_.front().bytes.size()) return WriteNext();
  Piece piece = std::move(pieces_.front());
  pieces_.pop_front();
  if (piece.done) piece.done(true);
  if (!pieces_.empty()) return WriteNext();
  stream_.tcp().expires_never();
  if (phase_ == Phase::kAnswering) return;  // it was a probe
  if (phase_ == Phase::kStreaming) return Ping();
  LeaveExchange();
  if (phase_ == Phase::kRefusing) return Linger();
  if (!keep_alive_) return stream_.has_tls() ? Linger() : Shut();
  BeIdle();
}

void HttpConnection::Ping() {
  After(shared_->options.ping_interval, [this] { WriteChunk(kPingEvent, nullptr); });
}

// HTTP/1.0 has nothing that could be sent before a reply; there the reply itself is what fails.
void HttpConnection::Probe() {
  if (writing_) return;
  if (phase_ == Phase::kStreaming) return WriteChunk(kPingEvent, nullptr);
  if (phase_ == Phase::kAnswering && chunked_) Write({std::string(kContinue), nullptr});
}

void HttpConnection::After(absl::Duration silence, std::function<void()> action) {
  silence_.expires_after(absl::ToChronoNanoseconds(silence));
  silence_.async_wait([self = shared_from_this(), action = std::move(action)](ErrorCode error) {
    if (!error && self->phase_ != Phase::kShut && !self->writing_) action();
  });
}

void HttpConnection::LeaveExchange() {
  if (exchange_ == nullptr) return;
  exchange_->Left();
  exchange_.reset();
}

void HttpConnection::EndExchange() {
  if (phase_ != Phase::kRefusing) phase_ = Phase::kEnding;
  exchange_->Ended();
}

}  // namespace diptych::gateway
