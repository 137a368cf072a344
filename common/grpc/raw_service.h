// Methods that see a call when its headers arrive; gRPC's own methods start when its whole message is there.
#pragma once

#include <grpcpp/impl/service_type.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "common/grpc/connection_calls.h"
#include "common/stage_clock.h"

namespace diptych {

// From a call's headers to its message's last byte, where nothing else is said.
inline constexpr SteadyDuration kLongPatience = std::chrono::minutes(1);
// Of methods that anybody may call: their messages are a few words.
inline constexpr SteadyDuration kShortPatience = std::chrono::seconds(5);

// Methods take the bytes of their request, which are freed when the method has returned its reactor, and give those of
// their answers. A call whose message does not come is cancelled; one that sends none gets INVALID_ARGUMENT,
// and one whose message is not as sent (message_checksum.h) UNAVAILABLE.
// Thread-safe once its methods are added.
class RawService : public grpc::Service {
 public:
  using Unary = std::function<grpc::ServerUnaryReactor*(grpc::CallbackServerContext*, const grpc::ByteBuffer* request,
                                                        grpc::ByteBuffer* response)>;
  using ServerStream = std::function<grpc::ServerWriteReactor<grpc::ByteBuffer>*(grpc::CallbackServerContext*,
                                                                                 const grpc::ByteBuffer* request)>;
  // `call` is to be released with the reactor.
  using BidiStream = std::function<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*(
      grpc::CallbackServerContext*, std::shared_ptr<void> call)>;

  // Which calls of a method get their line of the log (request_log.h) here. Those that end before their method is
  // called always do.
  enum class Line {
    kOfMethod,  // none: the method writes it
    kAll,
    kFailed,  // of what is asked again and again: readiness, load
  };

  // A call whose headers have come. gRPC 1.51 keeps what comes of a message whatever its length, and looks at its bound
  // only when the message is whole; so it is read only where it is wanted, and not for longer than it needs.
  template <typename Method>
  struct Opened {
    Method method;      // gets the request; destroyed with the call
    bool reads = true;  // false: nothing is read, and the method, which is to refuse the call, gets an empty request
    SteadyDuration patience = kLongPatience;
    std::shared_ptr<void> place = {};  // of the message among those on their way; released before the method is called
    Line line = Line::kOfMethod;
    std::string key_name = {};  // for that line
  };
  template <typename Method>
  using Open = std::function<Opened<Method>(const grpc::CallbackServerContext& context)>;

 protected:
  // `service` is the full name: "diptych.v1.GatewayService".
  explicit RawService(std::string_view service);

  // Each adds a method by its name: "Ask". In the constructor of the service.
  void AddUnary(std::string_view name, Open<Unary> open);
  void AddServerStream(std::string_view name, Open<ServerStream> open);
  // The same for all calls, without a look at their headers.
  void AddUnary(std::string_view name, Unary method, Line line, SteadyDuration patience = kLongPatience);
  void AddServerStream(std::string_view name, ServerStream method, SteadyDuration patience = kLongPatience);
  void AddBidiStream(std::string_view name, BidiStream method);

 private:
  const std::string service_;
  ConnectionCalls calls_;
  std::list<std::string> paths_;  // gRPC keeps pointers to them
};

}  // namespace diptych
