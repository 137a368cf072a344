#include "gateway/http/http_tls.h"

#include <openssl/ssl.h>

#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/log.h"
#include "common/status.h"

namespace diptych::gateway {

namespace net = boost::asio;
namespace ssl = net::ssl;

namespace {

constexpr absl::Duration kLookInterval = absl::Seconds(1);

absl::Status Unusable(std::string_view flag, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("--", std::string(flag), ": ", std::string(why)));
}

// Of what the caller offers takes HTTP/1.1; a caller that offers none of it is told so.
int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                   unsigned int offered_size, void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  unsigned char* protocol = nullptr;
  const int found = SSL_select_next_proto(&protocol, size, kOurs, sizeof kOurs - 1, offered, offered_size);
  if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = protocol;
  return SSL_TLSEXT_ERR_OK;
}

absl::StatusOr<std::shared_ptr<ssl::context>> MakeContext(const TlsOptions& files) {
  DIPTYCH_ASSIGN_OR_RETURN(const std::string cert, ReadPem(files.cert_file, "tls_cert"));
  DIPTYCH_ASSIGN_OR_RETURN(const std::string key, ReadPem(files.key_file, "tls_key"));
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX* const native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_cipher_list(native, "ECDHE+AESGCM:ECDHE+CHACHA20");  // of TLS 1.2
  static constexpr unsigned char kSessions[] =
      "diptych-http";  // without it a caller with a certificate could not resume
  SSL_CTX_set_session_id_context(native, kSessions, sizeof kSessions - 1);
  SSL_CTX_set_alpn_select_cb(native, ChooseProtocol, nullptr);
  boost::system::error_code error;
  // A key with a password is refused instead of asked about on the terminal.
  context->set_password_callback([](size_t, ssl::context::password_purpose) { return std::string(); }, error);
  if (!error) context->use_certificate_chain(net::buffer(cert), error);
  if (error) return Unusable("tls_cert", "the file it names holds no certificate in PEM");
  context->use_private_key(net::buffer(key), ssl::context::pem, error);
  if (error || SSL_CTX_check_private_key(native) != 1) {
    return Unusable("tls_key", "the file it names does not hold the certificate's key in PEM, without a password");
  }
  if (files.client_ca_file.empty()) return context;
  DIPTYCH_ASSIGN_OR_RETURN(const std::string authority, ReadPem(files.client_ca_file, "tls_client_ca"));
  context->add_certificate_authority(net::buffer(authority), error);
  if (!error) context->set_verify_mode(ssl::verify_peer, error);
  if (error) return Unusable("tls_client_ca", "the file it names holds no certificate in PEM");
  return context;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpTls>> HttpTls::Open(const TlsOptions& files) {
  std::unique_ptr<HttpTls> tls(new HttpTls(files));
  tls->written_ = tls->Written();
  DIPTYCH_ASSIGN_OR_RETURN(tls->context_, MakeContext(files));
  return tls;
}

std::shared_ptr<ssl::context> HttpTls::Current() {
  const absl::Time now = absl::Now();
  if (now - looked_ < kLookInterval) return context_;
  looked_ = now;
  const Times written = Written();
  if (written == written_) return context_;
  auto changed = MakeContext(files_);
  // Of a pair that is being replaced the second file may not be there yet: looks again.
  if (!changed.ok()) {
    spdlog::warn("the certificate of the HTTP port stays as it was: {}", std::string(changed.status().message()));
    return context_;
  }
  written_ = written;
  context_ = *std::move(changed);
  spdlog::info("the certificate of the HTTP port was read again");
  return context_;
}

HttpTls::Times HttpTls::Written() const {
  Times times{};
  size_t i = 0;
  for (const std::string* file : {&files_.cert_file, &files_.key_file, &files_.client_ca_file}) {
    std::error_code error;
    const auto time = std::filesystem::last_write_time(*file, error);
    times[i++] = error ? std::filesystem::file_time_type::min() : time;
  }
  return times;
}

}  // namespace diptych::gateway
