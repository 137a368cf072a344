// One call of a unary method of a tier.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "common/grpc/client_reactor.h"
#include "common/grpc/end_of_call.h"
#include "common/replicas/known_replicas.h"

namespace diptych::gateway {

// Like a stub's own call, except that it sees when the message comes: a replica that has sent it and does not end
// the call is waited for as EndOfCall says, not until the deadline. Thread-compatible.
template <typename Request, typename Response>
class UnaryAttempt final : public ClientReactor<grpc::ClientBidiReactor<Request, Response>> {
 public:
  using Done = std::function<void(const grpc::Status&)>;

  // `method` is "diptych.v1.VisionService/AnalyzeVision". Calls `done` once, on one of gRPC's threads: OK once the
  // message has come, however the call ended. `request` and `response` must outlive that.
  static void Start(Route route, const std::string& method, std::shared_ptr<grpc::ClientContext> context,
                    const Request& request, Response& response, Done done) {
    (new UnaryAttempt(std::move(route), std::move(context), response, std::move(done)))->Begin(method, request);
  }

 private:
  UnaryAttempt(Route route, std::shared_ptr<grpc::ClientContext> context, Response& response, Done done)
      : stub_(std::move(route.channel)),
        counted_(std::move(route.counted)),
        context_(std::move(context)),
        response_(response),
        done_(std::move(done)) {}

  void Begin(const std::string& method, const Request& request) {
    stub_.PrepareBidiStreamingCall(context_.get(), "/" + method, {}, this);
    this->StartWriteLast(&request, grpc::WriteOptions());
    this->StartRead(&response_);
    this->StartCall();
  }

  void OnReadDone(bool ok) override {
    came_ = ok;
    if (ok) end_.Expect(context_);
  }
  void OnDone(const grpc::Status& status) override {
    const std::unique_ptr<UnaryAttempt> self(this);
    counted_ = nullptr;
    if (came_) return done_(grpc::Status::OK);
    done_(status.ok() ? grpc::Status(grpc::StatusCode::INTERNAL, "no message") : status);
  }

  grpc::TemplatedGenericStub<Request, Response> stub_;
  std::shared_ptr<void> counted_;  // of the route, until the call ends
  const std::shared_ptr<grpc::ClientContext> context_;
  Response& response_;
  const Done done_;
  EndOfCall end_;
  bool came_ = false;
};

}  // namespace diptych::gateway
