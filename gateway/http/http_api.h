// The HTTP surface: routes to handlers, HTTP to gRPC and back.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "gateway/http/answer_form.h"
#include "gateway/http/conversation.h"
#include "gateway/http/handed_on.h"
#include "gateway/http/http_server.h"
#include "gateway/http/openai_reply.h"
#include "gateway/http/openai_request.h"

namespace diptych::gateway {

// Translates and keeps no state: every question goes through the gateway's own RPCs on an in-process channel, so
// limits, admission, deadlines and timings are those of any other caller. Thread-safe.
class HttpApi {
 public:
  struct Environment {
    std::shared_ptr<grpc::ChannelInterface> channel;             // to the gateway's own service
    std::shared_ptr<v1::GatewayService::StubInterface> gateway;  // on that channel
    // The name of the caller with this authorization header, empty where no keys are asked for, or what is wrong with
    // it: also what the gateway's own RPCs say.
    std::function<absl::StatusOr<std::string>(std::string_view authorization)> identify;
    bool needs_keys = false;
    SystemPrompt system_prompt = SystemPrompt::kPrepend;
    size_t max_message_bytes = 0;  // what the RPCs take
    size_t max_images_bytes = 0;   // of one question
    // The names of what is served, its own first; empty while it is unknown.
    std::function<std::vector<std::string>()> model_names;
    std::function<absl::Status(const std::string& name)> check_model;
    // The name of a place in the gate for so many questions, which they share as long as it is held.
    std::function<std::shared_ptr<const std::string>(int questions)> open_place;
    std::function<absl::Status()> ready;
    std::function<std::string()> metrics;  // in MetricRegistry::Format::kText
  };

  // The routes. A path may end with a name in braces.
  struct Route {
    const char* method;
    const char* path;
  };
  static std::span<const Route> Routes();

  explicit HttpApi(Environment environment) : environment_(std::move(environment)) {}

  // Refuses a request whose header alone is reason to: path, method, key, content type.
  HttpVerdict Check(const HttpRequest& head) const;

  void Handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) const;

 private:
  // The reply to a GET of a known path.
  HttpReply Read(const std::string& path) const;
  // The list, or the one of this name.
  HttpReply Models(const std::string& name) const;
  void Complete(OpenAiKind kind, HttpRequest request, std::shared_ptr<HttpExchange> exchange) const;
  void Respond(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const;
  void Ask(OpenAiRequest asked, std::unique_ptr<AnswerForm> form, const HttpRequest& request,
           std::shared_ptr<HttpExchange> exchange) const;
  void Status(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const;
  bool Fits(const google::protobuf::Message& message) const;
  HandedOn HandedOnOf(const HttpRequest& request) const;
  // Sends what was read, of a model that is served, and replies with what `reply` makes of the response.
  template <typename Response, typename Body, typename Send, typename Reply>
  void AskTokenizer(absl::StatusOr<Body> read, const HttpRequest& request, std::shared_ptr<HttpExchange> exchange,
                    Send send, Reply reply) const;
  void Tokenize(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const;
  void Detokenize(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const;
  void Plan(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const;
  void Analyze(const HttpRequest& request, std::shared_ptr<HttpExchange> exchange) const;

  const Environment environment_;
};

}  // namespace diptych::gateway
