#include "common/grpc/unknown_methods.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/error_details.h"
#include "common/grpc/connection_acceptor.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/metadata.h"
#include "common/status.h"

namespace diptych {
namespace {

constexpr size_t kMaxShownMethod = 96;  // bytes of a name that a caller made up

std::string Shown(const std::string& method) {
  return absl::CHexEscape(method.substr(0, kMaxShownMethod));
}

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  Refusal(const std::string& method, std::shared_ptr<void> counted) : counted_(std::move(counted)) {
    Finish(ToGrpcStatus(
        MakeError(absl::StatusCode::kUnimplemented, reason::kUnimplemented,
                  absl::StrCat("this server has no method ", Shown(method), "; reflection lists those that it has"))));
  }
  void OnDone() override { delete this; }

 private:
  const std::shared_ptr<void> counted_;  // among its connection's calls
};

}  // namespace

UnknownMethods::UnknownMethods() : calls_(ResetConnection) {}

grpc::ServerGenericBidiReactor* UnknownMethods::CreateReactor(grpc::GenericCallbackServerContext* context) {
  return new Refusal(context->method(), calls_.Begin(context->peer(), MetadataBytes(*context)));
}

}  // namespace diptych
