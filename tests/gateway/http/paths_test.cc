#include "gateway/http/paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace diptych::gateway {
namespace {

using ::testing::HasSubstr;

TEST(PathsTest, LeavesOutDoubledAndTrailingSlashes) {
  EXPECT_EQ(CanonicalPath("//v1//models//"), "/v1/models");
  EXPECT_EQ(CanonicalPath("/"), "/");
  EXPECT_EQ(CanonicalPath("///"), "/");
  EXPECT_EQ(CanonicalPath(""), "");
}

TEST(PathsTest, PutsV1BeforeTheNamesOfOtherServersAlone) {
  for (const char* path : {"/chat/completions", "/completions", "/models", "/responses", "/tokenize", "/detokenize"}) {
    EXPECT_EQ(CanonicalPath(path), "/v1" + std::string(path));
    EXPECT_EQ(CanonicalPath("/v1" + std::string(path) + "/"), "/v1" + std::string(path));
  }
  EXPECT_EQ(CanonicalPath("/models/org/name"), "/v1/models/org/name");
  for (const char* path : {"/health", "/v1/v1/models", "/chat", "/modelsx", "/metrics", "/diptych/plan"}) {
    EXPECT_EQ(CanonicalPath(path), path);
  }
}

TEST(PathsTest, WhatEdgesKeepBackHasOneSpelling) {
  for (const char* path : {"/metrics", "/metrics/", "//metrics", "//metrics//"}) EXPECT_EQ(CanonicalPath(path), path);
}

TEST(PathsTest, KnowsWhatWasMeant) {
  for (const char* path : {"/v1/v1/chat/completions", "/v1/chat/completions/chat/completions", "/api/chat",
                           "/openai/deployments/demo/chat/completions", "/v1/messages", "/v1/chat/completion"}) {
    EXPECT_EQ(MeantPath(path), "/v1/chat/completions") << path;
  }
  for (const char* path : {"/api/v1/models", "/api/show", "/info", "/get_model_info", "/props"}) {
    EXPECT_EQ(MeantPath(path), "/v1/models") << path;
  }
  for (const char* path : {"/healthz", "/readyz", "/v1/health", "/api/health"}) EXPECT_EQ(MeantPath(path), "/health");
  EXPECT_EQ(MeantPath("/api/version"), "/version");
  EXPECT_EQ(MeantPath("/v1/responses/input_tokens"), "/v1/tokenize");
  EXPECT_EQ(MeantPath("/generate"), "/v1/completions");
  for (const char* path : {"/v1/embeddings", "/", "", "/docs"}) EXPECT_EQ(MeantPath(path), "") << path;
}

TEST(PathsTest, SaysWhyPathsOfOpenAiAreNotServed) {
  for (const char* path : {"/v1/embeddings", "/api/embed", "/v1/images/generations", "/v1/audio/speech", "/rerank"}) {
    EXPECT_THAT(std::string(WhyNothingAt(path)), HasSubstr("answers in text")) << path;
  }
  for (const char* path : {"/v1/responses/resp_1", "/v1/chat/completions/1", "/v1/conversations", "/v1/batches"}) {
    EXPECT_THAT(std::string(WhyNothingAt(path)), HasSubstr("nothing is kept")) << path;
  }
  for (const char* path : {"/v1/files", "/v1/vector_stores/1"}) {
    EXPECT_THAT(std::string(WhyNothingAt(path)), HasSubstr("comes with its question")) << path;
  }
  for (const char* path : {"/", "/v1", "/docs", "/v1/engines"}) EXPECT_EQ(WhyNothingAt(path), "") << path;
}

TEST(PathsTest, DecodesNames) {
  EXPECT_EQ(NameInPath("org%2Fname"), "org/name");
  EXPECT_EQ(NameInPath("plain"), "plain");
  EXPECT_EQ(NameInPath("50%"), "50%");
}

}  // namespace
}  // namespace diptych::gateway
