#include "common/grpc/unary_reply.h"

#include "common/grpc/grpc_status.h"

namespace diptych {

grpc::ServerUnaryReactor* ReplyNow(const grpc::ServerContextBase& context, const absl::Status& status) {
  auto* reply = new UnaryReply(context);
  reply->Finish(ToGrpcStatus(status));
  return reply;
}

}  // namespace diptych
