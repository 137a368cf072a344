// The HTTP surface: routes to handlers, HTTP to gRPC and back.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "diptych/v1/gateway.grpc.pb.h"
#include "gateway/http/http_server.h"
#include "gateway/http/openai_reply.h"

namespace diptych::gateway {

// Translates and keeps no state: every question goes through the gateway's own RPCs on an in-process channel, so limits,
// admission, deadlines and timings are those of any other caller. Thread-safe.
class HttpApi {
 public:
  struct Environment {
    std::shared_ptr<v1::GatewayService::StubInterface> gateway;
    std::function<std::optional<v1::ModelDescription>()> model;  // what is served; nullopt while unknown
    std::function<bool()> ready;
    std::function<std::string()> metrics;  // Prometheus text
  };

  explicit HttpApi(Environment environment) : environment_(std::move(environment)) {}

  void Handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) const;

 private:
  // What a GET of a known path gets.
  HttpReply Read(const std::string& path) const;
  HttpReply Models(const std::string& id) const;
  void Ask(OpenAiKind kind, HttpRequest request, std::shared_ptr<HttpExchange> exchange) const;
  void Status(std::shared_ptr<HttpExchange> exchange) const;
  void Plan(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const;
  void Analyze(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const;

  const Environment environment_;
};

}  // namespace diptych::gateway
