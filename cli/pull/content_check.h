// Whether bytes are the content that an ETag of the hub identifies.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace diptych::cli {

// Thread-compatible.
class ContentCheck {
 public:
  // SHA-256 for an ETag of 64 hexadecimal digits, which large files have; for one of 40 the SHA-1 that git gives a file
  // of `size` bytes, which the hub's other files have, or that of the bytes alone, which simpler servers give.
  ContentCheck(std::string etag, int64_t size);

  // Whether the ETag identifies content; if not, Matches accepts everything.
  static bool Names(std::string_view etag);

  void Update(std::string_view bytes);
  // Ends it.
  bool Matches();

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  void Add(const EVP_MD* digest, std::string_view prefix);

  const std::string etag_;
  std::vector<std::unique_ptr<EVP_MD_CTX, Free>> digests_;
};

}  // namespace diptych::cli
