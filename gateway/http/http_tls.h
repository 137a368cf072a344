// The certificate of the HTTP surface.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/network/pem.h"
#include "common/steady_clock.h"

namespace diptych::gateway {

// TLS 1.2 and 1.3 with forward secrecy, for HTTP/1.1. Thread-compatible.
class HttpTls {
 public:
  // With a client_ca_file callers are asked for a certificate, and one that it did not sign ends the handshake; whether
  // one is needed is for the connection to say. INVALID_ARGUMENT, naming the flag, for a file that cannot be used, and
  // if the key is not the certificate's.
  static absl::StatusOr<std::unique_ptr<HttpTls>> Open(const TlsOptions& files);

  // For a connection that is made now. Reads the files at most once a second; what is faulty in them leaves what was.
  std::shared_ptr<boost::asio::ssl::context> Current();

 private:
  explicit HttpTls(const TlsOptions& files) : files_(files) {}
  // Makes a context from the files, unless context_ was made from what they hold now.
  absl::Status Read();

  const TlsOptions files_;
  PemTexts texts_;     // of context_
  std::string fault_;  // the one that was logged last
  std::shared_ptr<boost::asio::ssl::context> context_;
  SteadyTime looked_ = {};
};

}  // namespace diptych::gateway
