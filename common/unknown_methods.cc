#include "common/unknown_methods.h"

#include "common/error_details.h"
#include "common/grpc_status.h"
#include "common/status.h"

namespace diptych {
namespace {

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  Refusal() {
    Finish(ToGrpcStatus(MakeError(absl::StatusCode::kUnimplemented, reason::kUnimplemented,
                                  "this server has no such method; reflection lists those that it has")));
  }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerGenericBidiReactor* UnknownMethods::CreateReactor(grpc::GenericCallbackServerContext* /*context*/) {
  return new Refusal;
}

}  // namespace diptych
