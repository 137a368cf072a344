#include "gateway/http/http_tls.h"

#include <openssl/ssl.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/logging/log.h"
#include "common/status.h"

namespace diptych::gateway {

namespace net = boost::asio;
namespace ssl = net::ssl;

namespace {

constexpr absl::Duration kFilesLookInterval = absl::Seconds(1);

// Beyond what ReadPemFiles sees.
absl::Status Unusable(std::string_view flag) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", std::string(flag), ": OpenSSL refuses what the file it names holds"));
}

// Chooses HTTP/1.1 among what the caller offers; a caller that does not offer it gets an alert.
int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                   unsigned int offered_size, void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  unsigned char* protocol = nullptr;
  const int found = SSL_select_next_proto(&protocol, size, kOurs, sizeof kOurs - 1, offered, offered_size);
  if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = protocol;
  return SSL_TLSEXT_ERR_OK;
}

absl::StatusOr<std::shared_ptr<ssl::context>> MakeContext(const PemTexts& texts) {
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
  // A key with a password is refused; OpenSSL would ask for it on the terminal.
  context->set_password_callback([](size_t, ssl::context::password_purpose) { return std::string(); }, error);
  if (!error) context->use_certificate_chain(net::buffer(texts.cert), error);
  if (error) return Unusable("tls_cert");
  context->use_private_key(net::buffer(texts.key), ssl::context::pem, error);
  if (error) return Unusable("tls_key");
  if (texts.client_ca.empty()) return context;
  context->add_certificate_authority(net::buffer(texts.client_ca), error);
  if (!error) context->set_verify_mode(ssl::verify_peer, error);
  if (error) return Unusable("tls_client_ca");
  return context;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpTls>> HttpTls::Open(const TlsOptions& files) {
  std::unique_ptr<HttpTls> tls(new HttpTls(files));
  DIPTYCH_RETURN_IF_ERROR(tls->Read());
  return tls;
}

std::shared_ptr<ssl::context> HttpTls::Current() {
  const SteadyTime now = SteadyClock::now();
  if (TimeSince(looked_, now) < kFilesLookInterval) return context_;
  looked_ = now;
  const std::string fault(Read().message());
  if (fault != std::exchange(fault_, fault) && !fault.empty()) {
    spdlog::warn("the certificate of the HTTP port stays as it was: {}", fault);
  }
  return context_;
}

absl::Status HttpTls::Read() {
  const bool again = context_ != nullptr;
  DIPTYCH_ASSIGN_OR_RETURN(PemTexts texts, again ? ReadPemFilesAgain(files_, texts_) : ReadPemFiles(files_));
  if (again && texts == texts_) return absl::OkStatus();
  DIPTYCH_ASSIGN_OR_RETURN(auto context, MakeContext(texts));
  if (again) spdlog::info("the certificate of the HTTP port was read again");
  context_ = std::move(context);
  texts_ = std::move(texts);
  return absl::OkStatus();
}

}  // namespace diptych::gateway
