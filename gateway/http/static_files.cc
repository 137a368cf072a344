#include "gateway/http/static_files.h"

#include <string>

#include "absl/strings/match.h"

namespace diptych::gateway {
namespace {

constexpr char kIndex[] = "index.html";
constexpr std::string_view kFolder = "/playground/";

// Images that the page itself made or was given are data: and blob: URLs.
constexpr char kContentSecurityPolicy[] =
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'";

const EmbeddedFile* Find(std::string_view path) {
  std::string_view name = kIndex;
  if (path != "/") {
    if (!path.starts_with(kFolder)) return nullptr;
    name = path.substr(kFolder.size());
  }
  for (const EmbeddedFile& file : EmbeddedFiles()) {
    if (file.name == name) return &file;
  }
  return nullptr;
}

const char* ContentType(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  if (name.ends_with(".js")) return "text/javascript; charset=utf-8";
  if (name.ends_with(".svg")) return "image/svg+xml";
  if (name.ends_with(".webp")) return "image/webp";
  return "application/octet-stream";
}

}  // namespace

bool IsStaticFile(std::string_view path) {
  return Find(path) != nullptr;
}

HttpReply StaticFile(std::string_view path, std::string_view if_none_match) {
  const EmbeddedFile& file = *Find(path);
  HttpReply reply{.content_type = ContentType(file.name),
                  .body = {},
                  .headers = {{"etag", std::string(file.etag)},
                              {"cache-control", "no-cache"},  // kept, but asked about: a new binary is a new page
                              {"content-security-policy", kContentSecurityPolicy},
                              {"cross-origin-opener-policy", "same-origin"},
                              {"referrer-policy", "no-referrer"},
                              {"x-content-type-options", "nosniff"}}};
  // Also as one of a list, and as the weak tag that a proxy made of it.
  if (absl::StrContains(absl::string_view(if_none_match.data(), if_none_match.size()),
                        absl::string_view(file.etag.data(), file.etag.size()))) {
    reply.status = 304;
  } else {
    reply.body.assign(reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size());
  }
  return reply;
}

}  // namespace diptych::gateway
