// Certificates and keys from PEM files, which may change while a process runs.
#pragma once

#include <grpcpp/security/tls_certificate_provider.h>

#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/statusor.h"
#include "common/mutex.h"

namespace diptych {

// The text of a PEM file. INVALID_ARGUMENT, naming the flag and not the file, if it cannot be read.
absl::StatusOr<std::string> ReadPem(const std::string& file, std::string_view flag);

// Names of PEM files. All empty: no TLS. With client_ca_file, callers must show a certificate that it has signed.
struct TlsOptions {
  std::string cert_file;
  std::string key_file;
  std::string client_ca_file;
  std::string ca_flag = "tls_client_ca";  // the flag that gives client_ca_file
};

// The contents of the three files; empty for a file that is not given.
struct PemTexts {
  std::string cert;
  std::string key;
  std::string client_ca;
  bool operator==(const PemTexts&) const = default;
};

// INVALID_ARGUMENT, naming the flag and not the file: a file cannot be read, holds no certificate or no key without
// passphrase, one of its certificates is damaged, OpenSSL finds it too weak, or the key is not the certificate's.
absl::StatusOr<PemTexts> ReadPemFiles(const TlsOptions& tls);

// ReadPemFiles for one that has `in_use`: INVALID_ARGUMENT also for a certificate that is to take the place of another
// and has expired, or is not valid yet.
absl::StatusOr<PemTexts> ReadPemFilesAgain(const TlsOptions& tls, const PemTexts& in_use);

// Gives gRPC checked copies of the files, and replaces them when the files change and pass ReadPemFiles. Needed
// because gRPC takes whatever it finds: it aborts over a key file that is empty for the moment in which it is written.
// Has a thread. Thread-safe; must outlive the users of its provider.
class PemFiles {
 public:
  // Requires: at least one file is given. The errors of ReadPemFiles.
  static absl::StatusOr<std::shared_ptr<PemFiles>> Open(const TlsOptions& tls);
  ~PemFiles();

  std::shared_ptr<grpc::experimental::CertificateProviderInterface> provider() const { return provider_; }

 private:
  // A file in memory, without a name.
  class Copy;

  PemFiles(TlsOptions tls, PemTexts texts);
  void Run();
  void Look();
  void Write() const;

  const TlsOptions tls_;
  PemTexts texts_;
  std::string fault_;  // the one that was logged last
  std::unique_ptr<Copy> cert_, key_, client_ca_;
  std::shared_ptr<grpc::experimental::CertificateProviderInterface> provider_;
  Mutex mutex_;
  CondVar changed_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace diptych
