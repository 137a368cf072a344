#include "common/grpc/unknown_methods.h"

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/error_details.h"
#include "common/grpc/connection_acceptor.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/metadata.h"
#include "common/logging/request_log.h"
#include "common/status.h"

namespace diptych {
namespace {

constexpr size_t kMaxShownMethod = 96;  // bytes of a name that a caller made up

std::string Shown(const std::string& method) {
  return absl::CHexEscape(method.substr(0, kMaxShownMethod));
}

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  Refusal(const grpc::GenericCallbackServerContext& context, std::shared_ptr<void> counted)
      : status_(MakeError(absl::StatusCode::kUnimplemented, reason::kUnimplemented,
                          absl::StrCat("this server has no method ", Shown(context.method()),
                                       "; reflection lists those that it has"))),
        request_id_(RequestIdOf(context)),
        counted_(std::move(counted)) {
    Finish(ToGrpcStatus(status_));
  }
  // Calls of any method come here when their caller is gone before they begin.
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override {
    LogEnded({.method = "unknown", .request_id = request_id_, .status = cancelled_ ? absl::CancelledError() : status_});
    delete this;
  }

 private:
  const absl::Status status_;
  const std::string request_id_;
  const std::shared_ptr<void> counted_;  // among its connection's calls
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

UnknownMethods::UnknownMethods() : calls_(ResetConnection) {}

grpc::ServerGenericBidiReactor* UnknownMethods::CreateReactor(grpc::GenericCallbackServerContext* context) {
  return new Refusal(*context, calls_.Begin(context->peer(), MetadataBytes(*context)));
}

}  // namespace diptych
