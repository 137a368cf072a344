// An HTTP/1.1 server: whole requests in, replies or event streams out. It knows nothing of what they mean.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/network/pem.h"
#include "common/steady_clock.h"
#include "common/tracing/trace_context.h"

namespace diptych::gateway {

// For the log; valid during the call.
struct HttpFailure {
  int status = 0;                    // of the reply; kGone: nobody was there for one
  std::string_view reason = {};      // stable, or empty
  std::string_view request_id = {};  // empty before the header was read
  std::string_view caller = {};      // the name of the key; empty if it is not known
  SteadyDuration duration{};         // from the header's last byte
  static constexpr int kGone = 499;
};

struct HttpOptions {
  std::string listen = "127.0.0.1:8080";       // IP address:port; port 0 picks a free one
  std::vector<std::string> hosts = {};         // names by which callers may know it (common/network/http_host.h)
  TlsOptions tls = {};                         // no cert_file: no TLS
  std::vector<std::string> cors_origins = {};  // whose pages may use it (cors.h)
  // Called for each request that ends with an error which no RPC has logged, and for each that its caller left unsent.
  std::function<void(const HttpFailure& failure)> on_failed = nullptr;
  int threads = 2;                       // 1 and up; as many again read bodies
  int max_connections = 1024;            // that have asked; over it the oldest that asks nothing is closed, or one
                                         // whose body has not come gets 503, or the new one
  int max_new_callers = 1024;            // that have not asked yet; over it one of the host that has most is closed
  uint32_t max_header_bytes = 16 << 10;  // of all header lines together
  int64_t max_body_bytes = 1 << 20;      // of one request
  int64_t max_bodies_bytes = 256 << 20;  // of all requests that are read or answered at a time, half
                                         // of it for one address and one caller; over it 429
  absl::Duration connection_age = absl::Minutes(5);   // after which a reply is the last one, so that a caller's
                                                      // certificate is looked at again
  absl::Duration idle_timeout = absl::Minutes(1);     // of a connection between two requests
  absl::Duration header_timeout = absl::Seconds(10);  // from a request's first byte to the end of its header
  absl::Duration body_timeout = absl::Minutes(1);     // for the whole body, and a second more for each 64 KiB of it
  absl::Duration byte_timeout = absl::Seconds(5);     // for a body's first bytes, and for each that follow
  absl::Duration write_timeout = absl::Seconds(30);   // for each event, and for each 256 KiB of a reply
  absl::Duration ping_interval = absl::Seconds(15);   // of silence in an event stream
};

struct HttpRequest {
  std::string method;            // "POST"
  std::string path;              // "/v1/models", without the query
  std::string content_type;      // as sent
  std::string content_encoding;  // as sent
  std::string request_id;        // header x-request-id, as sent; one of the server's if there is none
  std::string if_none_match;     // as sent
  std::string authorization;     // as sent
  TraceContext trace;            // of its headers traceparent and tracestate
  std::string body;
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  HttpHeaders headers = {};
  std::string reason = {};  // of an error, for the log
  bool is_logged = false;   // an RPC has done so
};

// One event of a stream; neither text has a line break.
struct HttpEvent {
  std::string name;  // may be empty
  std::string data;
};

// The way back of one request: Reply once, or StartEvents, any number of SendEvent, EndEvents. What comes after the
// caller left, or after the end, is swallowed. Thread-safe.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  virtual void Reply(HttpReply reply) = 0;

  // A 200 with text/event-stream. Comments are sent in silence, so that idle connections stay open.
  virtual void StartEvents() = 0;
  // `done` is called once: true when the event has left, false if it never will.
  virtual void SendEvent(HttpEvent event, std::function<void(bool)> done) = 0;
  virtual void EndEvents() = 0;

  // Counts so many more bytes, which a reply to a request with a body takes while it is put together, as memory of the
  // caller's with that body, until the reply has left. RESOURCE_EXHAUSTED with QUEUE_FULL if others have it now;
  // OUT_OF_RANGE if no caller may have so much.
  virtual absl::Status Keep(int64_t bytes) = 0;

  // Called once if the caller leaves before the end; at once if that has happened. Set at most once.
  virtual void OnGone(std::function<void()> gone) = 0;
};

// Called on threads of the server that read and write nothing, so it may take its time over a body; without a body on
// those that do. What it throws becomes a 500. Must not wait.
using HttpHandler = std::function<void(HttpRequest request, std::shared_ptr<HttpExchange> exchange)>;

// The verdict on a request by its header.
struct HttpVerdict {
  // The reply, after which the connection is closed. Without a body the handler is asked all the same.
  std::optional<HttpReply> refusal = std::nullopt;
  std::string caller = "";             // whose memory the body counts as; empty: unknown
  int64_t max_body_bytes = INT64_MAX;  // where that is less than HttpOptions says
  bool is_open = false;                // anybody may ask this: its connection goes where all are taken
};

// Every request comes here, without its body, and to the handler afterwards. Must not wait.
using HttpCheck = std::function<HttpVerdict(const HttpRequest& head)>;

// Malformed, oversized or slow requests get their status here (400, 403, 408, 413, 429, 431, 503) and reach no handler:
// their body is what `refuse` makes of status and message. Thread-safe.
class HttpServer {
 public:
  using Refusal = std::function<HttpReply(int status, const std::string& message)>;

  // INVALID_ARGUMENT if the address is unusable.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpOptions& options, HttpHandler handler,
                                                           Refusal refuse, HttpCheck check = nullptr);
  // Ends what is still running.
  ~HttpServer();

  // No new connections; idle ones are closed; those with a request in flight get `timeout` to end.
  void Drain(absl::Duration timeout);

  int port() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace diptych::gateway
