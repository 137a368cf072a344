#include "gateway/http/paths.h"

#include "gateway/http/percent.h"

namespace diptych::gateway {
namespace {

// OpenAI's, and vLLM's.
constexpr std::string_view kVersionedPaths[] = {"/chat/completions", "/completions", "/models",
                                                "/responses",        "/tokenize",    "/detokenize"};
constexpr std::string_view kModelFolder = "/models/";

bool IsVersionedPath(std::string_view path) {
  for (const std::string_view known : kVersionedPaths) {
    if (path == known) return true;
  }
  return path.starts_with(kModelFolder);
}

}  // namespace

std::string CanonicalPath(std::string_view path) {
  std::string canonical;
  for (const char c : path) {
    if (c != '/' || !canonical.ends_with('/')) canonical += c;
  }
  if (canonical.size() > 1 && canonical.ends_with('/')) canonical.pop_back();
  return IsVersionedPath(canonical) ? "/v1" + canonical : canonical;
}

std::string NameInPath(std::string_view part) {
  std::string name(part);
  DecodePercent(name);
  return name;
}

}  // namespace diptych::gateway
