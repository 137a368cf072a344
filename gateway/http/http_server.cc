#include "gateway/http/http_server.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <chrono>
#include <list>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/network/listen_address.h"
#include "common/process/catch_exceptions.h"
#include "common/process/descriptors.h"
#include "common/status.h"
#include "common/steady_clock.h"
#include "gateway/http/caller_host.h"
#include "gateway/http/http_connection.h"
#include "gateway/http/http_tls.h"
#include "gateway/http/waiting_callers.h"

namespace diptych::gateway {

namespace net = boost::asio;
using tcp = net::ip::tcp;

namespace {

// Until a connection is accepted again: where so many are in leaving, and where descriptors have run out.
constexpr std::chrono::milliseconds kFullPause(10), kErrorPause(50);

absl::StatusOr<tcp::endpoint> ParseAddress(const std::string& listen) {
  DIPTYCH_RETURN_IF_ERROR(CheckListenFlag("http_listen", listen));
  const absl::StatusOr<HostPort> parsed = ParseHostPort(listen);
  boost::system::error_code error;
  const net::ip::address address =
      net::ip::make_address(parsed->host == "localhost" ? "127.0.0.1" : parsed->host, error);
  if (!error) return tcp::endpoint(address, parsed->port);
  return absl::InvalidArgumentError(absl::StrCat("cannot listen with --http_listen: \"", listen,
                                                 "\" has no IP address: give, for example, 127.0.0.1:8080"));
}

// Both rooms together get two eighths of the descriptors: see DescriptorLimit.
HttpOptions WithinDescriptors(HttpOptions options) {
  const int share = std::max(DescriptorLimit() / 8, 1);
  options.max_connections = std::min(options.max_connections, share);
  options.max_new_callers = std::min(options.max_new_callers, share);
  return options;
}

}  // namespace

class HttpServer::Impl final : public HttpConnections {
 public:
  Impl(const HttpOptions& options, HttpHandler handler, Refusal refuse, HttpCheck check)
      : shared_(std::make_shared<HttpShared>(WithinDescriptors(options), std::move(handler), std::move(refuse),
                                             std::move(check), this)),
        acceptor_(net::make_strand(shared_->io)),
        pause_(acceptor_.get_executor()) {}

  absl::Status Listen(const tcp::endpoint& endpoint) {
    if (!shared_->options.tls.cert_file.empty()) {
      DIPTYCH_ASSIGN_OR_RETURN(tls_, HttpTls::Open(shared_->options.tls));
    }
    boost::system::error_code error;
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(net::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(net::socket_base::max_listen_connections, error);
    if (error) {
      return absl::InvalidArgumentError(absl::StrCat("cannot listen on ", shared_->options.listen, ": ",
                                                     error.message(), "; choose another with --http_listen"));
    }
    port_ = acceptor_.local_endpoint().port();
    Accept();
    for (int i = 0; i < shared_->options.threads; ++i) threads_.emplace_back([this] { Run(); });
    return absl::OkStatus();
  }

  void Drain(absl::Duration timeout) {
    net::post(acceptor_.get_executor(), [this] {
      boost::system::error_code ignored;
      acceptor_.close(ignored);
    });
    MutexLock lock(mutex_);
    draining_ = true;
    for (const auto& connection : open_) connection->CloseWhenIdle();
    WaitUntilEmpty(lock, timeout);
  }

  void Stop() {
    {
      MutexLock lock(mutex_);
      draining_ = true;
      for (const auto& connection : open_) connection->Close();
      WaitUntilEmpty(lock, absl::Seconds(1));
    }
    shared_->io.stop();
    for (std::thread& thread : threads_) thread.join();
    shared_->workers.join();  // after them: only they give it work
    shared_->End();
    FinishHandlers();
    MutexLock lock(mutex_);
    open_.clear();
  }

  int port() const { return port_; }

  bool draining() const override {
    MutexLock lock(mutex_);
    return draining_;
  }

  bool Admit(HttpConnection* connection) override {
    MutexLock lock(mutex_);
    new_callers_.Remove(connection);
    return admitted() <= shared_->options.max_connections || MakeRoom();
  }

  void BodyBegins(HttpConnection* connection, const std::string& host) override {
    MutexLock lock(mutex_);
    bodies_.Add(connection, host, SteadyClock::now());
  }

  void BodyEnds(HttpConnection* connection) override {
    MutexLock lock(mutex_);
    bodies_.Remove(connection);
  }

  void Remove(HttpConnection* connection) override {
    MutexLock lock(mutex_);
    new_callers_.Remove(connection);
    bodies_.Remove(connection);
    open_.remove_if([&](const auto& open) { return open.get() == connection; });
    if (open_.empty()) ended_.NotifyAll();
  }

 private:
  // Work left in the io_context, such as the workers' last replies, holds connections, and through them this object.
  void FinishHandlers() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    shared_->io.restart();
    (void)CatchExceptions("http", [this] {
      shared_->io.poll();
      return absl::OkStatus();
    });
    shared_->io.stop();
  }

  // A failure, which is memory at its end, costs the connection that met it.
  void Run() {
    while (!shared_->io.stopped()) {
      (void)CatchExceptions("http", [this] {
        shared_->io.run();
        return absl::OkStatus();
      });
    }
  }

  // Callers that it has no room to read or to refuse wait in the operating system's queue.
  void Accept() {
    if (!HasRoom()) return AcceptAfter(kFullPause);
    acceptor_.async_accept(net::make_strand(shared_->io), [this](boost::system::error_code error, tcp::socket socket) {
      if (!acceptor_.is_open()) return;
      if (error) return AcceptAfter(kErrorPause);  // something that is open has to end first
      Add(std::move(socket));
      Accept();
    });
  }

  void AcceptAfter(std::chrono::milliseconds pause) {
    pause_.expires_after(pause);
    pause_.async_wait([this](boost::system::error_code) { Accept(); });
  }

  // Those that were given up and then not closed, since their next request had come, could take all of it for good:
  // others go for them.
  bool HasRoom() {
    MutexLock lock(mutex_);
    if (admitted() < shared_->options.max_connections + most_in_leaving_) return HasRoomForNewCaller();
    (void)MakeRoom();
    return false;
  }

  bool HasRoomForNewCaller() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int most = shared_->options.max_new_callers, many = static_cast<int>(new_callers_.size());
    if (many < most) return true;
    HttpConnection* const goes = new_callers_.ChooseToGo(SteadyClock::now());
    if (goes != nullptr) goes->TurnAway();
    return goes != nullptr && many < most + most_in_leaving_;
  }

  void Add(tcp::socket socket) {
    boost::system::error_code gone;
    const auto peer = socket.remote_endpoint(gone);
    if (gone) return;
    const auto connection =
        std::make_shared<HttpConnection>(std::move(socket), tls_ != nullptr ? tls_->Current() : nullptr, shared_);
    {
      MutexLock lock(mutex_);
      if (draining_) return;
      open_.emplace_back(connection);
      new_callers_.Add(connection.get(), CallerHost(peer.address()), SteadyClock::now());
    }
    connection->Start();
  }

  void WaitUntilEmpty(MutexLock& lock, absl::Duration timeout) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const SteadyTime until = FromNow(timeout);
    while (!open_.empty() && ended_.WaitUntil(lock, until)) {
    }
  }

  int admitted() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return static_cast<int>(open_.size() - new_callers_.size());
  }

  // The oldest connection that has asked and asks nothing now goes, else one whose body is waited for; false if there
  // is none.
  bool MakeRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::any_of(open_.begin(), open_.end(), [](const auto& connection) { return connection->GiveUpIfIdle(); }) ||
           GiveUpBody();
  }

  bool GiveUpBody() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    HttpConnection* const goes = bodies_.ChooseToGo(SteadyClock::now());
    if (goes != nullptr) goes->GiveUpBody();
    return goes != nullptr;
  }

  const std::shared_ptr<HttpShared> shared_;
  std::unique_ptr<HttpTls> tls_;  // of the acceptor's strand once it listens
  tcp::acceptor acceptor_;
  net::steady_timer pause_;
  int port_ = 0;
  // Connections over each bound: those that get a refusal, and those for which others, given up, still close.
  const int most_in_leaving_ = std::clamp(DescriptorLimit() / 128, 1, 64);
  std::vector<std::thread> threads_;
  mutable Mutex mutex_;
  CondVar ended_;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<std::shared_ptr<HttpConnection>> open_ ABSL_GUARDED_BY(mutex_);  // the oldest first
  WaitingCallers new_callers_ ABSL_GUARDED_BY(mutex_);                       // those of them that have not asked
  WaitingCallers bodies_ ABSL_GUARDED_BY(mutex_);                            // those whose body is waited for
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpOptions& options, HttpHandler handler,
                                                              Refusal refuse, HttpCheck check) {
  DIPTYCH_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, ParseAddress(options.listen));
  auto impl = std::make_unique<Impl>(options, std::move(handler), std::move(refuse), std::move(check));
  DIPTYCH_RETURN_IF_ERROR(impl->Listen(endpoint));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::~HttpServer() {
  impl_->Stop();
}

void HttpServer::Drain(absl::Duration timeout) {
  impl_->Drain(timeout);
}

int HttpServer::port() const {
  return impl_->port();
}

}  // namespace diptych::gateway
