#include "common/unknown_methods.h"

#include <memory>
#include <utility>

#include "common/connection_acceptor.h"
#include "common/error_details.h"
#include "common/grpc_status.h"
#include "common/metadata.h"
#include "common/status.h"

namespace diptych {
namespace {

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(std::shared_ptr<void> counted) : counted_(std::move(counted)) {
    Finish(ToGrpcStatus(MakeError(absl::StatusCode::kUnimplemented, reason::kUnimplemented,
                                  "this server has no such method; reflection lists those that it has")));
  }
  void OnDone() override { delete this; }

 private:
  const std::shared_ptr<void> counted_;  // among its connection's calls
};

}  // namespace

UnknownMethods::UnknownMethods() : calls_(ResetConnection) {}

grpc::ServerGenericBidiReactor* UnknownMethods::CreateReactor(grpc::GenericCallbackServerContext* context) {
  return new Refusal(calls_.Begin(context->peer(), MetadataBytes(*context)));
}

}  // namespace diptych
