#pragma once

#include <grpcpp/security/tls_certificate_provider.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace diptych {

// The text of a PEM file. INVALID_ARGUMENT, naming the flag and not the file, if it cannot be read.
absl::StatusOr<std::string> ReadPem(const std::string& file, std::string_view flag);

// PEM files. All empty: no TLS. With client_ca_file, callers must show a certificate it signed.
struct TlsOptions {
  std::string cert_file;
  std::string key_file;
  std::string client_ca_file;
};

// What the files hold, read again within seconds when they change: connections that are made then use it. A file that
// is faulty then leaves what was. Requires: at least one file is given. INVALID_ARGUMENT, naming the flag, if one
// cannot be read or holds no PEM.
absl::StatusOr<std::shared_ptr<grpc::experimental::FileWatcherCertificateProvider>> WatchPemFiles(
    const TlsOptions& tls);

}  // namespace diptych
