// The part of HttpConnection that reads requests.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <chrono>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/network/http_host.h"
#include "common/process/catch_exceptions.h"
#include "common/requests/question_limits.h"
#include "gateway/http/caller_host.h"
#include "gateway/http/cors.h"
#include "gateway/http/http_connection.h"
#include "gateway/http/http_exchange.h"
#include "gateway/http/paths.h"
#include "gateway/request_id.h"

namespace diptych::gateway {

namespace http = boost::beast::http;
namespace net = boost::asio;

namespace {

constexpr size_t kPieceBytes = 64 << 10;         // of a body, read at a time
constexpr int64_t kBodyBytesASecond = 64 << 10;  // what has come at this rate is not counted against body_timeout
constexpr size_t kLargeBodyBytes = 1 << 20;  // a body that holds more has a sixth of body_timeout for its next bytes

// `name`: an http::field or a string.
template <typename Name>
std::string HeaderOf(const http::request_header<>& request, const Name& name) {
  const auto value = request[name];
  return std::string(value.data(), value.size());
}

// Several traceparents count as none, several tracestates as one list.
TraceContext TraceOf(const http::request_header<>& request) {
  if (request.count("traceparent") != 1) return {};
  std::string state;
  for (auto [line, end] = request.equal_range("tracestate"); line != end; ++line) {
    if (!state.empty()) state += ',';
    state.append(line->value().data(), line->value().size());
  }
  return ParseTraceContext(HeaderOf(request, "traceparent"), state);
}

std::string_view ViewOf(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

std::string_view PathOf(const http::request_header<>& message) {
  return ReadTarget(ViewOf(message.target())).path;
}

HttpRequest RequestOf(const http::request_header<>& message) {
  return {.method = std::string(message.method_string().data(), message.method_string().size()),
          .path = std::string(PathOf(message)),
          .content_type = HeaderOf(message, http::field::content_type),
          .content_encoding = HeaderOf(message, http::field::content_encoding),
          .request_id = HeaderOf(message, "x-request-id"),
          .if_none_match = HeaderOf(message, http::field::if_none_match),
          .authorization = HeaderOf(message, http::field::authorization),
          .trace = TraceOf(message),
          .body = {}};
}

// True for what the bytes are at fault for; everything else is the connection's end.
bool IsMalformed(const boost::system::error_code& error) {
  return error.category() == http::make_error_code(http::error::bad_version).category() &&
         error != http::error::end_of_stream && error != http::error::partial_message;
}

struct Fault {
  int status;
  const char* message;
};

// Why no header could be read; nullopt where the connection has ended.
std::optional<Fault> FaultOfRead(const boost::system::error_code& error, bool timed_out) {
  if (timed_out) return Fault{408, "the header took too long"};
  if (error == http::error::header_limit) return Fault{431, "the header is too large"};
  if (IsMalformed(error)) return Fault{400, "this is not HTTP/1.1"};
  return std::nullopt;
}

// A transfer that is neither of known length nor in chunks: what follows would be taken for another request.
bool HasUnknownEncoding(const http::request_header<>& message) {
  const size_t encodings = message.count(http::field::transfer_encoding);
  if (encodings == 0) return false;
  return encodings > 1 || message.version() < 11 ||
         !absl::EqualsIgnoreCase(HeaderOf(message, http::field::transfer_encoding), "chunked");
}

// What a header says that is refused whatever is asked for; nullopt if nothing is.
std::optional<Fault> FaultOf(const http::request_header<>& message, std::span<const std::string> hosts) {
  if (HasUnknownEncoding(message)) {
    return Fault{400, "the only transfer-encoding here is chunked, and that of HTTP/1.1"};
  }
  const auto host = HostOf({.version = message.version(),
                            .target = ViewOf(message.target()),
                            .headers = message.count(http::field::host),
                            .header = ViewOf(message[http::field::host])});
  if (!host) return Fault{400, "an HTTP/1.1 request has one Host header, such as name:port"};
  if (!host->empty() && !IsAllowedHost(*host, hosts)) {
    return Fault{403, "this server does not go by that host name; its operator can add it to --http_hosts"};
  }
  return std::nullopt;
}

}  // namespace

void HttpConnection::ReadHeader() {
  phase_ = Phase::kReadingHeader;
  parser_.emplace();
  parser_->header_limit(shared_->options.max_header_bytes);
  parser_->body_limit(boost::none);  // BeginBody limits it: by then the path is known
  LimitRead(shared_->options.header_timeout);
  idle_ = true;
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = shared_from_this()](ErrorCode error, size_t) { self->OnHeader(error); });
}

void HttpConnection::LimitRead(absl::Duration limit) {
  broken_off_ = BrokenOff::kNot;
  reading_ = true;
  stream_.tcp().expires_never();
  silence_.expires_after(absl::ToChronoNanoseconds(limit));
  silence_.async_wait([self = shared_from_this(), read = ++reads_](ErrorCode error) {
    if (!error && self->phase_ != Phase::kShut && self->reads_ == read) self->BreakOffRead(BrokenOff::kTooSlow);
  });
}

void HttpConnection::BreakOffRead(BrokenOff why) {
  broken_off_ = why;
  stream_.tcp().cancel();
}

void HttpConnection::EndOfRead() {
  ++reads_;
  reading_ = false;
  silence_.cancel();
}

void HttpConnection::OnHeader(ErrorCode error) {
  EndOfRead();
  SetExpendable(false);
  if (phase_ == Phase::kShut) return Shut();
  phase_ = Phase::kReadingBody;
  cors_.clear();
  request_id_.clear();
  caller_.clear();
  head_only_ = false;
  if (error) {
    const auto fault = FaultOfRead(error, broken_off_ == BrokenOff::kTooSlow);
    return fault ? RefuseHeader(fault->status, fault->message) : Shut();
  }
  const http::request_header<>& message = parser_->get();
  TakeHead(RequestOf(message));
  keep_alive_ = parser_->get().keep_alive();
  head_only_ = message.method() == http::verb::head;
  if (const auto fault = FaultOf(message, shared_->options.hosts)) return RefuseHeader(fault->status, fault->message);
  if (!IsCertified()) return RefuseHeader(403, "this server takes requests with a client certificate only");
  cors_ = CorsHeaders({.origin = HeaderOf(message, http::field::origin),
                       .asks_first = message.method() == http::verb::options,
                       .method = HeaderOf(message, http::field::access_control_request_method),
                       .headers = HeaderOf(message, http::field::access_control_request_headers)},
                      shared_->options.cors_origins);
  parser_->chunked() ? BeginBody(std::nullopt) : BeginBody(parser_->content_length().value_or(0));
}

void HttpConnection::TakeHead(HttpRequest head) {
  head_ = std::move(head);
  if (head_.request_id.empty()) head_.request_id = NewRequestId();
  request_id_ = IsRequestId(head_.request_id) ? head_.request_id : "";
  header_at_ = SteadyClock::now();
}

// Probes of health have no certificate to show.
bool HttpConnection::IsCertified() {
  if (shared_->options.tls.client_ca_file.empty() || !stream_.has_tls() || stream_.caller_is_certified()) return true;
  return PathOf(parser_->get()).starts_with("/healthz/");
}

void HttpConnection::RefuseHeader(int status, const std::string& message) {
  SetExpendable(true);
  Refuse(status, message);
}

void HttpConnection::SetExpendable(bool expendable) {
  expendable_ = idle_ = expendable;
}

void HttpConnection::BeginBody(std::optional<uint64_t> length) {
  const HttpVerdict verdict = shared_->check ? shared_->check(head_) : HttpVerdict();
  caller_ = verdict.caller;
  SetExpendable(verdict.is_open || verdict.refusal);
  if (length == 0) return Serve();
  if (verdict.refusal) return Refuse(*verdict.refusal);
  most_body_bytes_ = std::min(shared_->options.max_body_bytes, verdict.max_body_bytes);
  const auto most = static_cast<uint64_t>(most_body_bytes_);
  if (length && *length > most) return RefuseBody();
  parser_->body_limit(most);
  parser_->eager(true);  // a read takes all the chunks that have come, not one
  ErrorCode gone;
  const auto peer = stream_.tcp().socket().remote_endpoint(gone);
  if (gone) return Shut();
  lease_ = shared_->bodies.Open(peer.address(), verdict.caller);
  shared_->connections->BodyBegins(this, CallerHost(peer.address()));
  body_length_ = length;
  body_deadline_ = FromNow(shared_->options.body_timeout);
  piece_.resize(std::min<uint64_t>(length.value_or(kPieceBytes), kPieceBytes));
  if (!absl::EqualsIgnoreCase(HeaderOf(parser_->get(), http::field::expect), "100-continue")) return ReadBody();
  stream_.tcp().expires_after(absl::ToChronoNanoseconds(shared_->options.write_timeout));
  writing_ = true;
  net::async_write(stream_, net::buffer(kContinue), [self = shared_from_this()](ErrorCode failed, size_t) {
    self->writing_ = false;
    failed || self->phase_ == Phase::kShut ? self->Shut() : self->ReadBody();
  });
}

void HttpConnection::ReadBody() {
  auto& body = parser_->get().body();
  body.data = piece_.data();
  body.size = piece_.size();
  body.more = true;
  LimitRead(std::min(TimeUntil(body_deadline_), shared_->options.byte_timeout));
  http::async_read_some(stream_, buffer_, *parser_,
                        [self = shared_from_this()](ErrorCode error, size_t) { self->OnBody(error); });
}

void HttpConnection::OnBody(ErrorCode error) {
  EndOfRead();
  if (phase_ == Phase::kShut) return Shut();
  if (error == http::error::need_buffer) error = {};  // the piece is full
  if (error && broken_off_ == BrokenOff::kTooSlow) return Refuse(408, "the body took too long");
  if (error && broken_off_ == BrokenOff::kGivenUp) {
    return Refuse(503, "all connections of this server are taken, and the body had not come yet");
  }
  if (error == http::error::body_limit) return RefuseBody();
  if (IsMalformed(error)) return Refuse(400, "the body is not what its header says");
  if (error) {
    TellFailure(HttpFailure::kGone, "CANCELLED");
    return Shut();
  }
  const size_t size = piece_.size() - parser_->get().body().size;
  if (!KeepBody(size).ok()) return Refuse(429, "too many requests are being read");
  body_.append(piece_.data(), size);
  // What came fast gives no time to hold it for: a caller could fill all the memory for bodies, and keep it full.
  const absl::Duration longest = shared_->options.body_timeout / (body_.size() > kLargeBodyBytes ? 6 : 1);
  body_deadline_ =
      std::min(Later(body_deadline_, absl::Seconds(static_cast<double>(size) / kBodyBytesASecond)), FromNow(longest));
  parser_->is_done() ? Serve() : ReadBody();
}

absl::Status HttpConnection::KeepBody(size_t bytes) {
  if (body_.size() + bytes <= body_.capacity() && body_.size() + bytes <= static_cast<size_t>(lease_.bytes())) {
    return absl::OkStatus();
  }
  const uint64_t most = body_length_.value_or(static_cast<uint64_t>(most_body_bytes_));
  const uint64_t wanted = std::min<uint64_t>(most, std::max<uint64_t>(2 * body_.size(), body_.size() + bytes));
  if (const absl::Status status = lease_.Grow(static_cast<int64_t>(wanted) - lease_.bytes()); !status.ok()) {
    return status;
  }
  body_.reserve(wanted);
  return absl::OkStatus();
}

void HttpConnection::GiveUpBody() {
  net::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->phase_ == Phase::kReadingBody && self->reading_) self->BreakOffRead(BrokenOff::kGivenUp);
  });
}

void HttpConnection::Serve() {
  shared_->connections->BodyEnds(this);
  chunked_ = parser_->get().version() >= 11;
  parser_.reset();
  piece_ = {};
  lease_.ShrinkTo(static_cast<int64_t>(body_.size()));
  HttpRequest request = std::exchange(head_, {});
  request.body = std::exchange(body_, {});
  phase_ = Phase::kAnswering;
  exchange_ = std::make_shared<Exchange>(shared_from_this(), std::exchange(lease_, {}));
  stream_.tcp().expires_never();
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

}  // namespace diptych::gateway
