#include "gateway/http/paths.h"

#include <algorithm>
#include <utility>

#include "gateway/http/percent.h"

namespace diptych::gateway {
namespace {

// OpenAI's, and vLLM's.
constexpr std::string_view kVersionedPaths[] = {"/chat/completions", "/completions", "/models",
                                                "/responses",        "/tokenize",    "/detokenize"};
constexpr std::string_view kModelFolder = "/models/";
// Edges keep it back, and know it by this spelling.
constexpr std::string_view kKeptBack = "/metrics";

// The ends of other paths, and what clients want there.
constexpr std::pair<std::string_view, std::string_view> kMeant[] = {
    {"/chat/completions", "/v1/chat/completions"},
    {"/chat/completion", "/v1/chat/completions"},
    {"/completions", "/v1/completions"},
    {"/responses", "/v1/responses"},
    {"/models", "/v1/models"},
    {"/chat", "/v1/chat/completions"},        // Ollama
    {"/generate", "/v1/completions"},         // Ollama, TGI
    {"/generate_stream", "/v1/completions"},  // TGI
    {"/completion", "/v1/completions"},       // llama.cpp
    {"/messages", "/v1/chat/completions"},    // Anthropic
    {"/tags", "/v1/models"},                  // Ollama
    {"/show", "/v1/models"},                  // Ollama
    {"/props", "/v1/models"},                 // llama.cpp
    {"/info", "/v1/models"},                  // TGI
    {"_info", "/v1/models"},                  // SGLang
    {"/input_tokens", "/v1/tokenize"},        // OpenAI
    {"/count_tokens", "/v1/tokenize"},        // Anthropic
    {"/version", "/version"},
    {"/health", "/health"},
    {"/healthz", "/health"},  // Kubernetes
    {"/readyz", "/health"},   // Kubernetes
};

constexpr std::string_view kAnswersInText = "the model answers in text, and does nothing else";
constexpr std::string_view kIsStateless = "nothing is kept between requests";
constexpr std::string_view kKeepsNoFiles = "no files are kept: an image comes with its question";

// Parts of paths of other APIs.
constexpr std::pair<std::string_view, std::string_view> kNotServed[] = {
    {"/embed", kAnswersInText},     {"/rerank", kAnswersInText},          {"/score", kAnswersInText},
    {"/classify", kAnswersInText},  {"/pooling", kAnswersInText},         {"/moderations", kAnswersInText},
    {"/images/", kAnswersInText},   {"/audio/", kAnswersInText},          {"/videos", kAnswersInText},
    {"/realtime", kAnswersInText},  {"/fine_tuning", kAnswersInText},     {"/evals", kAnswersInText},
    {"/responses/", kIsStateless},  {"/chat/completions/", kIsStateless}, {"/conversations", kIsStateless},
    {"/assistants", kIsStateless},  {"/threads", kIsStateless},           {"/batches", kIsStateless},
    {"/files", kKeepsNoFiles},      {"/uploads", kKeepsNoFiles},          {"/vector_stores", kKeepsNoFiles},
    {"/containers", kKeepsNoFiles},
};

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
  if (canonical == kKeptBack) return std::string(path);
  return IsVersionedPath(canonical) ? "/v1" + canonical : canonical;
}

std::string_view MeantPath(std::string_view path) {
  for (const auto& [end, route] : kMeant) {
    if (path.ends_with(end)) return route;
  }
  return "";
}

std::string_view WhyNothingAt(std::string_view path) {
  for (const auto& [part, why] : kNotServed) {
    if (path.find(part) != path.npos) return why;
  }
  return "";
}

std::string NameInPath(std::string_view part) {
  std::string name(part);
  DecodePercent(name);
  return name;
}

}  // namespace diptych::gateway
