// The bytes of an HTTP connection: as they are, or inside TLS.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <memory>
#include <optional>
#include <utility>

namespace diptych::gateway {

// Reads and writes as Beast's and Asio's algorithms want it; limits of time, closing and the socket are those of tcp().
// One read and one write at a time. Thread-compatible.
class HttpStream {
 public:
  using executor_type = boost::beast::tcp_stream::executor_type;

  // `tls` null: no TLS.
  HttpStream(boost::asio::ip::tcp::socket socket, std::shared_ptr<boost::asio::ssl::context> tls)
      : tcp_(std::move(socket)) {
    if (tls == nullptr) return;
    tls_.emplace(tcp_, *tls);
    ::SSL_set_msg_callback(tls_->native_handle(), OnMessage);
    ::SSL_set_msg_callback_arg(tls_->native_handle(), this);
  }
  HttpStream(const HttpStream&) = delete;
  HttpStream& operator=(const HttpStream&) = delete;

  executor_type get_executor() { return tcp_.get_executor(); }
  boost::beast::tcp_stream& tcp() { return tcp_; }
  bool has_tls() const { return tls_.has_value(); }
  // The caller showed a certificate, which has been checked. After the handshake.
  bool caller_is_certified() { return ::SSL_get0_peer_certificate(tls_->native_handle()) != nullptr; }

  // Requires: has_tls().
  template <typename Done>
  void AsyncHandshake(Done done) {
    tls_->async_handshake(boost::asio::ssl::stream_base::server,
                          [this, done = std::move(done)](boost::system::error_code error) {
                            agreed_ = !error;
                            done(error);
                          });
  }
  // Says that nothing follows, and waits until the caller has said so, too. Requires: has_tls().
  template <typename Done>
  void AsyncFarewell(Done done) {
    tls_->async_shutdown(std::move(done));
  }

  template <typename Buffers, typename Done>
  void async_read_some(const Buffers& buffers, Done&& done) {  // NOLINT(readability-identifier-naming): Asio's name
    tls_ ? tls_->async_read_some(buffers, std::forward<Done>(done))
         : tcp_.async_read_some(buffers, std::forward<Done>(done));
  }
  template <typename Buffers, typename Done>
  void async_write_some(const Buffers& buffers, Done&& done) {  // NOLINT(readability-identifier-naming): Asio's name
    tls_ ? tls_->async_write_some(buffers, std::forward<Done>(done))
         : tcp_.async_write_some(buffers, std::forward<Done>(done));
  }

 private:
  // Handshake messages allowed after it is done: new keys are due after gigabytes, and each costs more than
  // its bytes, forever.
  static constexpr int kMostRenewals = 32;

  // OpenSSL has read or written a message of TLS; what is closed here fails what is being read.
  static void OnMessage(int is_ours, int, int content_type, const void*, size_t, SSL*, void* self) {
    auto* const stream = static_cast<HttpStream*>(self);
    if (is_ours != 0 || content_type != SSL3_RT_HANDSHAKE || !stream->agreed_) return;
    if (++stream->renewals_ > kMostRenewals) stream->tcp_.close();
  }

  boost::beast::tcp_stream tcp_;
  std::optional<boost::asio::ssl::stream<boost::beast::tcp_stream&>> tls_;
  bool agreed_ = false;  // the handshake is done
  int renewals_ = 0;     // messages of a handshake since then
};

}  // namespace diptych::gateway
