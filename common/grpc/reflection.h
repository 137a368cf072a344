// gRPC's reflection: tells clients such as grpcurl which services there are, and their messages.
#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>
#include <string>
#include <vector>

namespace diptych {

// The service under both of its names, v1 and v1alpha, whose messages are the same. Lists `services` and itself;
// describes whatever is compiled in. Thread-safe.
std::vector<std::unique_ptr<grpc::Service>> MakeReflection(std::vector<std::string> services);

}  // namespace diptych
