#include "gateway/http/image_source.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/images/image_file_name.h"
#include "common/status.h"
#include "gateway/http/json_members.h"
#include "gateway/http/percent.h"

namespace diptych::gateway {
namespace {

constexpr char kIsPath[] =
    "is the path of a file, and this server reads none: send the file itself, as data:image/jpeg;base64,...";

// Whether what is no base64 was meant as a file of the caller's: /a/b.png, C:\b.png, file:///a/b.png, b.png.
bool IsPath(absl::string_view source) {
  constexpr absl::string_view kBegins[] = {"file:", "/", "./", "../", "~/", "\\\\"};
  const auto begins = [&](absl::string_view start) { return absl::StartsWithIgnoreCase(source, start); };
  const bool has_drive = source.size() > 1 && absl::ascii_isalpha(source[0]) && source[1] == ':';
  const bool has_scheme = absl::StrContains(source, ':');
  return has_drive || std::any_of(std::begin(kBegins), std::end(kBegins), begins) ||
         (!has_scheme && IsImageFileName({source.data(), source.size()}));
}

constexpr char kIsPythonBytes[] = "is Python's way to show bytes, b'...': decode() them into text first";

// What f"data:image/png;base64,{b64encode(image)}" becomes.
bool IsPythonBytes(absl::string_view source) {
  return absl::StartsWith(source, "b'") || absl::StartsWith(source, "b\"");
}

bool IsDataUrl(absl::string_view source) {
  return absl::StartsWithIgnoreCase(source, "data:");
}

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
    const char* why = IsPythonBytes(source) ? kIsPythonBytes : IsPath(source) ? kIsPath : "is neither base64 nor a URL";
    if (DecodeBase64(std::move(source), image.mutable_data())) return absl::OkStatus();
    return Invalid(field, why);
  }
  if (!IsDataUrl(source)) {
    if (IsPath(source)) return InvalidField(reason::kImageUrlRefused, field, kIsPath);
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
  if (absl::EndsWithIgnoreCase(head, "base64")) {
    if (IsPythonBytes(source)) return Invalid(field, kIsPythonBytes);
    if (IsDataUrl(source)) return Invalid(field, "the data: URL holds another one: its beginning is there twice");
    return Invalid(field, IsPath(source) ? kIsPath : "the data: URL is not base64");
  }
  DecodePercent(source);
  image.set_data(std::move(source));
  return absl::OkStatus();
}

}  // namespace diptych::gateway
