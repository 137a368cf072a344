#include "gateway/http/openapi.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "gateway/http/http_api.h"

namespace diptych::gateway {
namespace {

TEST(OpenApiTest, DescribesEveryRouteAndNoOther) {
  std::set<std::string> described, served;
  const auto document = nlohmann::json::parse(OpenApiDocument());
  for (const auto& [path, item] : document["paths"].items()) {
    for (const auto& [method, operation] : item.items()) described.insert(absl::AsciiStrToUpper(method) + " " + path);
  }
  for (const HttpApi::Route& route : HttpApi::Routes()) served.insert(std::string(route.method) + " " + route.path);
  EXPECT_EQ(described, served);
}

}  // namespace
}  // namespace diptych::gateway
