#include "common/network/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/logging/log.h"
#include "common/process/catch_exceptions.h"
#include "common/stage_clock.h"
#include "common/status.h"

namespace diptych {
namespace {

constexpr unsigned kSecondsBetweenLooks = 1;

struct OpenSslFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using Certificate = std::unique_ptr<X509, OpenSslFree>;
using Key = std::unique_ptr<EVP_PKEY, OpenSslFree>;

// Never asks for a passphrase.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writes*/, void* /*context*/) {
  return -1;
}

// Those of the text, the peer's own first. Empty if it has none, or one that is damaged, as in a file that is only half
// written: gRPC takes those before it for all.
std::vector<Certificate> ReadCertificates(const std::string& text) {
  const std::unique_ptr<BIO, OpenSslFree> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  std::vector<Certificate> certificates;
  while (Certificate next{PEM_read_bio_X509(bio.get(), nullptr, &NoPassphrase, nullptr)}) {
    certificates.push_back(std::move(next));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!at_end) certificates.clear();
  return certificates;
}

Key ReadKey(const std::string& text) {
  const std::unique_ptr<BIO, OpenSslFree> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassphrase, nullptr));
  ERR_clear_error();
  return key;
}

bool BelongTogether(const Certificate& certificate, const Key& key) {
  const bool match = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  return match;
}

// Whether OpenSSL would show it, as gRPC asks it to: it may find the key or the signature too weak.
bool CanBeShown(const Certificate& certificate) {
  const std::unique_ptr<SSL_CTX, OpenSslFree> context(SSL_CTX_new(TLS_server_method()));
  const bool shown = context != nullptr && SSL_CTX_use_certificate(context.get(), certificate.get()) == 1;
  ERR_clear_error();
  return shown;
}

absl::Status Fault(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("--", std::string(what)));
}

absl::Status CheckPair(const PemTexts& texts) {
  if (texts.cert.empty() || texts.key.empty()) return absl::OkStatus();
  const std::vector<Certificate> chain = ReadCertificates(texts.cert);
  if (chain.empty()) return Fault("tls_cert: the file it names holds no PEM certificate, or a damaged one");
  const Key key = ReadKey(texts.key);
  if (key == nullptr) return Fault("tls_key: the file it names holds no PEM key without a passphrase");
  if (!BelongTogether(chain.front(), key)) {
    return Fault("tls_key: this is not the key of the certificate that --tls_cert names");
  }
  if (!CanBeShown(chain.front())) return Fault("tls_cert: OpenSSL finds this certificate too weak");
  return absl::OkStatus();
}

absl::Status CheckTexts(const PemTexts& texts, std::string_view ca_flag) {
  DIPTYCH_RETURN_IF_ERROR(CheckPair(texts));
  if (!texts.client_ca.empty() && ReadCertificates(texts.client_ca).empty()) {
    return Fault(absl::StrCat(std::string(ca_flag), ": the file it names holds no PEM certificate, or a damaged one"));
  }
  return absl::OkStatus();
}

// By the wall clock, as peers judge it. Requires: CheckTexts accepts the text.
absl::Status CheckDates(const std::string& cert) {
  const Certificate own = std::move(ReadCertificates(cert).front());
  if (X509_cmp_current_time(X509_get0_notAfter(own.get())) < 0) return Fault("tls_cert: this certificate has expired");
  if (X509_cmp_current_time(X509_get0_notBefore(own.get())) > 0) {
    return Fault("tls_cert: this certificate is not valid yet");
  }
  return absl::OkStatus();
}

absl::Status ReadIfGiven(const std::string& file, std::string_view flag, std::string& text) {
  if (file.empty()) return absl::OkStatus();
  DIPTYCH_ASSIGN_OR_RETURN(text, ReadPem(file, flag));
  return absl::OkStatus();
}

absl::StatusOr<PemTexts> ReadTexts(const TlsOptions& tls) {
  if (tls.cert_file.empty() != tls.key_file.empty()) {
    return absl::InvalidArgumentError("--tls_cert and --tls_key must be given together");
  }
  PemTexts texts;
  DIPTYCH_RETURN_IF_ERROR(ReadIfGiven(tls.cert_file, "tls_cert", texts.cert));
  DIPTYCH_RETURN_IF_ERROR(ReadIfGiven(tls.key_file, "tls_key", texts.key));
  DIPTYCH_RETURN_IF_ERROR(ReadIfGiven(tls.client_ca_file, tls.ca_flag, texts.client_ca));
  return texts;
}

}  // namespace

absl::StatusOr<std::string> ReadPem(const std::string& file, std::string_view flag) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) {  // also of an empty file
    return absl::InvalidArgumentError(absl::StrCat("--", std::string(flag), ": cannot read the file it names"));
  }
  return text.str();
}

absl::StatusOr<PemTexts> ReadPemFiles(const TlsOptions& tls) {
  DIPTYCH_ASSIGN_OR_RETURN(PemTexts texts, ReadTexts(tls));
  DIPTYCH_RETURN_IF_ERROR(CheckTexts(texts, tls.ca_flag));
  return texts;
}

absl::StatusOr<PemTexts> ReadPemFilesAgain(const TlsOptions& tls, const PemTexts& in_use) {
  DIPTYCH_ASSIGN_OR_RETURN(PemTexts texts, ReadTexts(tls));
  if (texts == in_use) return texts;
  DIPTYCH_RETURN_IF_ERROR(CheckTexts(texts, tls.ca_flag));
  if (!texts.cert.empty() && texts.cert != in_use.cert) DIPTYCH_RETURN_IF_ERROR(CheckDates(texts.cert));
  return texts;
}

class PemFiles::Copy {
 public:
  Copy() : descriptor_(memfd_create("tls", MFD_CLOEXEC)) {}
  ~Copy() {
    if (descriptor_ >= 0) close(descriptor_);
  }

  std::string path() const { return absl::StrCat("/proc/self/fd/", descriptor_); }

  // Never empty in between: a reader that sees both old and new bytes sees that the file has changed, too.
  bool Write(const std::string& text) const {
    const auto size = static_cast<ssize_t>(text.size());
    return pwrite(descriptor_, text.data(), text.size(), 0) == size && ftruncate(descriptor_, size) == 0;
  }

 private:
  const int descriptor_;
};

absl::StatusOr<std::shared_ptr<PemFiles>> PemFiles::Open(const TlsOptions& tls) {
  DIPTYCH_ASSIGN_OR_RETURN(PemTexts texts, ReadPemFiles(tls));
  return std::shared_ptr<PemFiles>(new PemFiles(tls, std::move(texts)));
}

PemFiles::PemFiles(TlsOptions tls, PemTexts texts) : tls_(std::move(tls)), texts_(std::move(texts)) {
  if (!tls_.cert_file.empty()) cert_ = std::make_unique<Copy>();
  if (!tls_.key_file.empty()) key_ = std::make_unique<Copy>();
  if (!tls_.client_ca_file.empty()) client_ca_ = std::make_unique<Copy>();
  Write();
  const auto path = [](const std::unique_ptr<Copy>& copy) { return copy == nullptr ? "" : copy->path(); };
  provider_ = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      path(key_), path(cert_), path(client_ca_), kSecondsBetweenLooks);
  thread_ = std::thread([this] { Run(); });
}

PemFiles::~PemFiles() {
  {
    MutexLock lock(mutex_);
    closed_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
}

void PemFiles::Run() {
  MutexLock lock(mutex_);
  while (!closed_) {
    if (changed_.WaitUntil(lock, SteadyClock::now() + std::chrono::seconds(kSecondsBetweenLooks))) continue;
    CatchInThread("the reader of certificates", [this] { Look(); });
  }
}

void PemFiles::Look() {
  absl::StatusOr<PemTexts> texts = ReadPemFilesAgain(tls_, texts_);
  const std::string fault(texts.status().message());
  if (fault != std::exchange(fault_, fault) && !fault.empty()) {
    spdlog::warn("the certificates stay as they were: {}", fault);
  }
  if (!texts.ok() || *texts == texts_) return;
  texts_ = *std::move(texts);
  Write();
  spdlog::info("the certificates have changed");
}

void PemFiles::Write() const {
  const bool written = (cert_ == nullptr || cert_->Write(texts_.cert)) &&
                       (key_ == nullptr || key_->Write(texts_.key)) &&
                       (client_ca_ == nullptr || client_ca_->Write(texts_.client_ca));
  if (!written) spdlog::error("the certificates cannot be kept in memory");
}

}  // namespace diptych
