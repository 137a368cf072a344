#include "gateway/http/image_source.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "gateway/http/json_members.h"
#include "gateway/http/percent.h"

namespace diptych::gateway {
namespace {

// False if `text` is not base64 of any kind.
bool DecodeBase64(std::string text, std::string* bytes) {
  if (absl::StrContains(text, '%')) DecodePercent(text);
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  text.erase(std::remove_if(text.begin(), text.end(), [](unsigned char c) { return absl::ascii_isspace(c); }),
             text.end());
  return absl::Base64Unescape(text, bytes);
}

}  // namespace

absl::Status ReadImageSource(std::string source, const std::string& field, v1::Image& image) {
  absl::StripAsciiWhitespace(&source);
  if (source.empty()) return Invalid(field, "takes an image: a data: URL, base64 or an address");
  if (!absl::StrContains(source, ':')) {
    // A data: URL that lost its beginning.
    if (const size_t comma = source.find(',');
        comma != source.npos && absl::EndsWith(source.substr(0, comma), "base64")) {
      source.erase(0, comma + 1);
    }
    if (DecodeBase64(std::move(source), image.mutable_data())) return absl::OkStatus();
    return Invalid(field, "is neither base64 nor a URL");
  }
  if (!absl::StartsWithIgnoreCase(source, "data:")) {
    image.set_url(std::move(source));
    return absl::OkStatus();
  }
  const size_t comma = source.find(',');
  if (comma == source.npos) return Invalid(field, "a data: URL takes the form data:image/...;base64,...");
  std::string head = source.substr(0, comma);
  absl::StripTrailingAsciiWhitespace(&head);
  source.erase(0, comma + 1);
  // Base64 is taken unannounced, too: no image's own bytes can be read so.
  if (DecodeBase64(source, image.mutable_data())) return absl::OkStatus();
  if (absl::EndsWithIgnoreCase(head, "base64")) return Invalid(field, "the data: URL is not base64");
  DecodePercent(source);
  image.set_data(std::move(source));
  return absl::OkStatus();
}

}  // namespace diptych::gateway
