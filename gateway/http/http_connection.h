// One connection of the HTTP server.
#pragma once

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "common/steady_clock.h"
#include "gateway/http/body_budgets.h"
#include "gateway/http/http_server.h"
#include "gateway/http/http_stream.h"

namespace diptych::gateway {

class HttpConnection;

// The owner of the list of connections. Thread-safe.
class HttpConnections {
 public:
  virtual bool draining() const = 0;
  // A new caller asks for the first time. False if all connections are taken.
  virtual bool Admit(HttpConnection* connection) = 0;
  // The body of a request is waited for, which `host` sends; it may be given up for a new caller until it has ended.
  virtual void BodyBegins(HttpConnection* connection, const std::string& host) = 0;
  virtual void BodyEnds(HttpConnection* connection) = 0;
  virtual void Remove(HttpConnection* connection) = 0;

 protected:
  ~HttpConnections() = default;
};

// State of all connections. `connections` is touched only while the io_context runs.
struct HttpShared {
  // Hands `function` to a connection's strand. False once the server has ended: nothing runs there any more, and what
  // waited there would keep the server forever.
  template <typename Executor, typename Function>
  bool TryPost(const Executor& strand, Function function) {
    MutexLock lock(mutex);
    if (ended) return false;
    boost::asio::post(strand, std::move(function));
    return true;
  }
  void End() {
    MutexLock lock(mutex);
    ended = true;
  }

  HttpShared(const HttpOptions& options, HttpHandler handler, HttpServer::Refusal refuse, HttpCheck check,
             HttpConnections* connections)
      : options(options),
        handler(std::move(handler)),
        refuse(std::move(refuse)),
        check(std::move(check)),
        bodies(options.max_bodies_bytes, std::max(options.max_bodies_bytes / 2, options.max_body_bytes)),
        connections(connections),
        workers(static_cast<size_t>(options.threads)),
        io(options.threads) {}

  const HttpOptions options;
  const HttpHandler handler;
  const HttpServer::Refusal refuse;
  const HttpCheck check;  // may be empty
  BodyBudgets bodies;
  HttpConnections* const connections;
  boost::asio::thread_pool workers;  // run the handler for requests with a body
  boost::asio::io_context io;
  Mutex mutex;
  bool ended ABSL_GUARDED_BY(mutex) = false;
};

// Reads a request, waits for its reply while it listens for the caller's leaving, reads the next. Everything happens on
// the connection's strand; the public functions may be called from anywhere.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  // `tls` null: as the bytes are.
  HttpConnection(boost::asio::ip::tcp::socket socket, std::shared_ptr<boost::asio::ssl::context> tls,
                 std::shared_ptr<HttpShared> shared);

  void Start();
  // Closes unless something is asked, or comes just now.
  void CloseWhenIdle();
  // The same, with the word to come back later where there is no TLS.
  void TurnAway();
  // True if nothing is asked at the moment, no whole header of what is, or what anybody may ask: it closes then, unless
  // something else comes just now. False for a caller that has not been admitted.
  bool GiveUpIfIdle();
  // Refuses the request whose body is waited for, unless all of it comes just now.
  void GiveUpBody();
  void Close();

 private:
  class Exchange;
  using ErrorCode = boost::system::error_code;
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  enum class Phase {
    kIdle,  // waits for a request
    kReadingHeader,
    kReadingBody,
    kAnswering,  // its exchange runs, and nothing of the reply is written
    kStreaming,  // its exchange runs, and the event stream has begun
    kEnding,     // its exchange has ended, but not all of it is written
    kRefusing,   // what came was no request; the reply to it is the last
    kShut,
  };
  // The caller's side. One that has closed it may still take the replies.
  enum class Sender {
    kOpen,
    kClosed,   // nothing more comes
    kAllRead,  // and all that was sent has been read
  };
  // Why a read was.
  enum class BrokenOff { kNot, kTooSlow, kGivenUp };
  struct Piece {
    std::string bytes;
    std::function<void(bool)> done;  // may be empty
    size_t written = 0;              // bytes of it
  };

  // Agrees on TLS, where there is any, and is idle then.
  void Greet();
  // The handshake failed.
  void OnGreetingFailed(ErrorCode error);
  // Between two requests, the last of which has been answered.
  void BeIdle();
  // Waits for bytes between requests, and during a reply for the caller's leaving.
  void Listen();
  void OnBytes(ErrorCode error, size_t size);
  // Takes room among the connections for a caller's first bytes; without room the caller gets an error.
  void Admit();
  // The same where nothing is read any more, because the caller has sent so much on, or because it has closed its side:
  // looks from time to time.
  void LookForLeaving();
  void OnLook();
  // Sends what means nothing: a caller that is gone answers with a reset.
  void Probe();
  void ReadHeader();
  // Call before a read of the parser's: breaks it off after `limit`. Not the stream's own limit, which would close the
  // socket before the caller gets an error.
  void LimitRead(absl::Duration limit);
  // So that its handler, which is called with an error then, finds why.
  void BreakOffRead(BrokenOff why);
  // Call first in that handler.
  void EndOfRead();
  void OnHeader(ErrorCode error);
  void TakeHead(HttpRequest head);
  // The caller showed a certificate, or needs none.
  bool IsCertified();
  void BeginBody(std::optional<uint64_t> length);
  // Whether the connection goes for another one from here on, although something is asked.
  void SetExpendable(bool expendable);
  // Reads what comes next of it.
  void ReadBody();
  void OnBody(ErrorCode error);
  // Takes memory for so much more of the body, before it is kept.
  absl::Status KeepBody(size_t bytes);
  void Serve();
  void Handle(HttpRequest request);
  // Answers what is no request, and closes.
  void Refuse(int status, const std::string& message);
  void RefuseHeader(int status, const std::string& message);  // which nobody vouches for
  void RefuseBody();                                          // which is too large
  void Refuse(const HttpReply& reply);
  void TellFailure(int status, std::string_view reason);

  // Of the exchange that is running.
  void WriteReply(const HttpReply& reply);
  void WriteEventsHeader();
  void WriteEvent(const HttpEvent& event, std::function<void(bool)> done);
  void WriteChunk(std::string data, std::function<void(bool)> done);
  void FinishEvents();
  void Write(Piece piece);
  // Of a long piece one part, so that each has write_timeout.
  void WriteNext();
  void Ping();
  // Calls `action` if nothing is read or written until then.
  void After(absl::Duration silence, std::function<void()> action);
  // True while the exchange may write.
  bool exchange_runs() const { return phase_ == Phase::kAnswering || phase_ == Phase::kStreaming; }
  // The last piece has been handed to Write.
  void EndExchange();
  // Nothing of its reply is held any more.
  void LeaveExchange();
  void OnWritten(ErrorCode error, size_t size);
  void Linger();
  void Discard();
  // No request has come, not even one that is not read yet.
  bool IsIdle();
  void ShutIfIdle();
  void TurnAwayIfIdle();
  void Shut();

  // Whether the connection may carry another request after a reply that is begun now.
  bool MayGoOn() const;

  const std::shared_ptr<HttpShared> shared_;
  const SteadyTime opened_ = SteadyClock::now();
  HttpStream stream_;
  boost::beast::flat_buffer buffer_;
  boost::asio::steady_timer silence_;
  boost::asio::steady_timer leaving_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::buffer_body>> parser_;
  HttpRequest head_;             // of the request that is being read; what a trailer adds to it means nothing
  std::string request_id_;       // of the request that was read last; empty if no header may hold it
  std::string caller_;           // of that request: the name of its key
  SteadyTime header_at_;         // when its header was there
  BodyBudgets::Lease lease_;     // of body_, while it is read; then its exchange's
  std::string body_;             // as far as it has come
  int64_t most_body_bytes_ = 0;  // that its path takes
  std::optional<uint64_t> body_length_;
  SteadyTime body_deadline_;
  std::vector<char> piece_;  // of the body, being read
  std::shared_ptr<Exchange> exchange_;
  std::deque<Piece> pieces_;
  Phase phase_ = Phase::kIdle;
  Sender sender_ = Sender::kOpen;
  std::atomic<bool> idle_ = false;      // in kIdle or kReadingHeader, or expendable_, and was not given up; read from
                                        // other threads
  std::atomic<bool> admitted_ = false;  // something has come from the caller; read from other threads
  bool listening_ = false;              // a read for bytes between requests, or for the caller's leaving, is on its way
  bool looking_ = false;                // leaving_ runs
  absl::Duration look_interval_;        // until leaving_ ends
  SteadyTime idle_until_;               // when a connection in kIdle is closed
  bool writing_ = false;                // a write is on its way
  bool reading_ = false;                // a read that uses parser_ is on its way
  int reads_ = 0;                       // limited ones, begun and ended
  BrokenOff broken_off_ = BrokenOff::kNot;  // the last of them
  // Of the request that was read last.
  bool chunked_ = false;
  bool keep_alive_ = true;
  bool expendable_ = false;  // anybody may ask it, or it is refused; until its reply has left
  HttpHeaders cors_;         // for the page that the reply is for
  bool head_only_ = false;   // the caller asked for the header of a reply
};

}  // namespace diptych::gateway
