#include "common/pem.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych {

absl::StatusOr<std::string> ReadPem(const std::string& file, std::string_view flag) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) {
    return absl::InvalidArgumentError(absl::StrCat("--", std::string(flag), ": cannot read the file it names"));
  }
  return text.str();
}

absl::StatusOr<std::shared_ptr<grpc::experimental::FileWatcherCertificateProvider>> WatchPemFiles(
    const TlsOptions& tls) {
  constexpr unsigned kSecondsBetweenLooks = 1;
  for (const auto& [file, flag] : {std::pair<std::string, std::string_view>{tls.cert_file, "tls_cert"},
                                   {tls.key_file, "tls_key"},
                                   {tls.client_ca_file, "tls_client_ca"}}) {
    if (file.empty()) continue;
    DIPTYCH_ASSIGN_OR_RETURN(const std::string text, ReadPem(file, flag));
    if (text.find("-----BEGIN ") == text.npos) {
      return absl::InvalidArgumentError(absl::StrCat("--", std::string(flag), ": the file it names holds no PEM"));
    }
  }
  return std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(tls.key_file, tls.cert_file,
                                                                              tls.client_ca_file, kSecondsBetweenLooks);
}

}  // namespace diptych
