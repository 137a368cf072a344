#include "cli/pull/content_check.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/hash.h"

namespace diptych::cli {
namespace {

constexpr size_t kSha1Digits = 40, kSha256Digits = 64;

}  // namespace

ContentCheck::ContentCheck(std::string etag, int64_t size) : etag_(std::move(etag)) {
  if (!Names(etag_)) return;
  if (etag_.size() == kSha256Digits) {
    Add(EVP_sha256(), "");
    return;
  }
  std::string header = absl::StrCat("blob ", size);
  header.push_back('\0');
  Add(EVP_sha1(), header);
  Add(EVP_sha1(), "");
}

bool ContentCheck::Names(std::string_view etag) {
  return (etag.size() == kSha1Digits || etag.size() == kSha256Digits) &&
         etag.find_first_not_of("0123456789abcdef") == etag.npos;
}

void ContentCheck::Add(const EVP_MD* digest, std::string_view prefix) {
  auto& context = digests_.emplace_back(EVP_MD_CTX_new());
  EVP_DigestInit_ex(context.get(), digest, nullptr);
  EVP_DigestUpdate(context.get(), prefix.data(), prefix.size());
}

void ContentCheck::Update(std::string_view bytes) {
  for (const auto& digest : digests_) EVP_DigestUpdate(digest.get(), bytes.data(), bytes.size());
}

bool ContentCheck::Matches() {
  return digests_.empty() || std::any_of(digests_.begin(), digests_.end(), [this](const auto& digest) {
           std::array<uint8_t, EVP_MAX_MD_SIZE> bytes;
           unsigned int size = 0;
           EVP_DigestFinal_ex(digest.get(), bytes.data(), &size);
           return ToHex(std::span(bytes.data(), size)) == etag_;
         });
}

}  // namespace diptych::cli
