#include "common/metrics/metrics_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <list>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/network/http_host.h"
#include "common/network/listen_address.h"
#include "common/status.h"

namespace diptych {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr size_t kMaxConnections = 16;
constexpr size_t kMaxRequestBytes = 8 << 10;
constexpr std::chrono::seconds kPatience(2);
constexpr std::chrono::milliseconds kPauseAfterFault(100);

absl::StatusOr<tcp::endpoint> Resolve(asio::io_context& io, const std::string& listen) {
  DIPTYCH_ASSIGN_OR_RETURN(const HostPort address, ParseHostPort(listen));
  error_code error;
  const auto found = tcp::resolver(io).resolve(address.host, std::to_string(address.port),
                                               tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty()) return absl::InvalidArgumentError(absl::StrCat("no host is called ", address.host));
  return found.begin()->endpoint();
}

struct Pages {
  const MetricRegistry& registry;
  const std::function<absl::Status()> ready;
  bool local = false;  // only this machine reaches them
};

std::string_view ViewOf(beast::string_view text) {
  return {text.data(), text.size()};
}

void Fill(std::string_view path, std::string_view accept, const Pages& pages,
          http::response<http::string_body>& response) {
  if (path == "/metrics") {
    const auto format = MetricRegistry::FormatFor(accept);
    response.set(http::field::content_type, MetricRegistry::ContentType(format));
    response.body() = pages.registry.Exposition(format);
  } else if (path == "/healthz/live") {
    response.body() = "ok\n";
  } else if (path == "/healthz/ready") {
    const absl::Status ready = pages.ready();
    response.result(ready.ok() ? http::status::ok : http::status::service_unavailable);
    response.body() = ready.ok() ? "ok\n" : absl::StrCat(ready.message(), "\n");
  } else {
    response.result(http::status::not_found);
  }
}

http::response<http::string_body> Answer(const http::request<http::empty_body>& request, const Pages& pages) {
  http::response<http::string_body> response;
  response.set(http::field::content_type, "text/plain; charset=utf-8");
  const std::string_view target = ViewOf(request.target());
  const auto host = HostOf({.version = request.version(),
                            .target = target,
                            .headers = request.count(http::field::host),
                            .header = ViewOf(request[http::field::host])});
  if (!host) {
    response.result(http::status::bad_request);
  } else if (pages.local && !host->empty() && !IsAllowedHost(*host, {})) {
    // Only a web page whose own name was made to point here calls a loopback port by another name.
    response.result(http::status::forbidden);
  } else if (request.method() != http::verb::get) {
    response.result(http::status::method_not_allowed);
    response.set(http::field::allow, "GET");
  } else {
    Fill(ReadTarget(target).path, ViewOf(request[http::field::accept]), pages, response);
  }
  response.keep_alive(false);
  response.prepare_payload();
  return response;
}

// One connection. Confined to the server's thread; kept alive by the operation that it waits for.
class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, const Pages& pages) : stream_(std::move(socket)), pages_(pages) {
    parser_.header_limit(kMaxRequestBytes);
    parser_.body_limit(0);
  }

  void Start() {
    stream_.expires_after(kPatience);
    http::async_read_header(stream_, buffer_, parser_, [self = shared_from_this()](error_code error, size_t) {
      if (!error) self->Write();
    });
  }

  void Close() { stream_.close(); }

 private:
  void Write() {
    response_ = Answer(parser_.get(), pages_);
    stream_.expires_after(kPatience);
    http::async_write(stream_, response_, [self = shared_from_this()](error_code error, size_t) {
      if (!error) self->stream_.socket().shutdown(tcp::socket::shutdown_send, error);
    });
  }

  beast::tcp_stream stream_;
  const Pages& pages_;
  beast::flat_buffer buffer_{kMaxRequestBytes};
  http::request_parser<http::empty_body> parser_;
  http::response<http::string_body> response_;
};

}  // namespace

class MetricsServer::Impl {
 public:
  explicit Impl(Pages pages) : pages_(std::move(pages)) {}

  ~Impl() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Start(const std::string& listen) {
    DIPTYCH_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, Resolve(io_, listen));
    error_code error;
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(kMaxConnections, error);
    if (error) return absl::UnavailableError("the port is in use");
    port_ = acceptor_.local_endpoint(error).port();
    pages_.local = endpoint.address().is_loopback();
    Accept();
    thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  }

  int port() const { return port_; }

 private:
  // A failure, which is memory at its end, costs the connection that met it.
  void Run() {
    while (!io_.stopped()) {
      try {
        io_.run();
      } catch (const std::exception&) {  // its connection is closed by now
      }
    }
  }

  void Accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (error) return AcceptLater();
      Accept();
      Admit(std::make_shared<Connection>(std::move(socket), pages_));
    });
  }

  // Without the pause, a process that is out of descriptors would spin here.
  void AcceptLater() {
    pause_.expires_after(kPauseAfterFault);
    pause_.async_wait([this](error_code) { Accept(); });
  }

  void Admit(const std::shared_ptr<Connection>& connection) {
    open_.remove_if([](const std::weak_ptr<Connection>& other) { return other.expired(); });
    if (open_.size() >= kMaxConnections) {
      if (const auto oldest = open_.front().lock()) oldest->Close();
      open_.pop_front();
    }
    open_.push_back(connection);
    connection->Start();
  }

  Pages pages_;
  asio::io_context io_{1};
  tcp::acceptor acceptor_{io_};
  asio::steady_timer pause_{io_};
  std::list<std::weak_ptr<Connection>> open_;  // oldest first
  int port_ = 0;
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& listen,
                                                                    const MetricRegistry& registry,
                                                                    std::function<absl::Status()> ready) {
  auto impl = std::make_unique<Impl>(Pages{.registry = registry, .ready = std::move(ready)});
  if (const absl::Status status = impl->Start(listen); !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot show metrics on ", listen, ": ", status.message(),
                     "; choose another with --metrics_listen, or none with an empty one"));
  }
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(impl)));
}

MetricsServer::MetricsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

MetricsServer::~MetricsServer() = default;

int MetricsServer::port() const {
  return impl_->port();
}

}  // namespace diptych
