#include "common/grpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <set>
#include <utility>

#include "common/grpc/call_timer.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/raw_service.h"
#include "common/grpc/wire.h"
#include "common/status.h"
#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"

namespace diptych {
namespace {

namespace reflection_v1 = grpc::reflection::v1;
namespace reflection_v1alpha = grpc::reflection::v1alpha;
using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;

// `file` and what it imports, each once, imports last.
void AddFile(const FileDescriptor& file, std::set<const FileDescriptor*>& added,
             reflection_v1::FileDescriptorResponse& response) {
  if (!added.insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  response.add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), added, response);
}

// Null if there is none.
const FileDescriptor* FileOfExtension(const DescriptorPool& pool, const reflection_v1::ExtensionRequest& request) {
  const auto* type = pool.FindMessageTypeByName(request.containing_type());
  const auto* extension = type == nullptr ? nullptr : pool.FindExtensionByNumber(type, request.extension_number());
  return extension == nullptr ? nullptr : extension->file();
}

void SetNotFound(reflection_v1::ServerReflectionResponse& response) {
  response.mutable_error_response()->set_error_code(grpc::StatusCode::NOT_FOUND);
  response.mutable_error_response()->set_error_message("not found");
}

void SetFile(const FileDescriptor* file, reflection_v1::ServerReflectionResponse& response) {
  if (file == nullptr) return SetNotFound(response);
  std::set<const FileDescriptor*> added;
  AddFile(*file, added, *response.mutable_file_descriptor_response());
}

void SetExtensionNumbers(const DescriptorPool& pool, const std::string& name,
                         reflection_v1::ServerReflectionResponse& response) {
  const auto* type = pool.FindMessageTypeByName(name);
  if (type == nullptr) return SetNotFound(response);
  std::vector<const google::protobuf::FieldDescriptor*> extensions;
  pool.FindAllExtensions(type, &extensions);
  response.mutable_all_extension_numbers_response()->set_base_type_name(name);
  for (const auto* extension : extensions) {
    response.mutable_all_extension_numbers_response()->add_extension_number(extension->number());
  }
}

using Services = std::shared_ptr<const std::vector<std::string>>;

reflection_v1::ServerReflectionResponse Answer(const reflection_v1::ServerReflectionRequest& request,
                                               const std::vector<std::string>& services) {
  using Request = reflection_v1::ServerReflectionRequest;
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  reflection_v1::ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      SetFile(pool.FindFileByName(request.file_by_filename()), response);
      break;
    case Request::kFileContainingSymbol:
      SetFile(pool.FindFileContainingSymbol(request.file_containing_symbol()), response);
      break;
    case Request::kFileContainingExtension:
      SetFile(FileOfExtension(pool, request.file_containing_extension()), response);
      break;
    case Request::kAllExtensionNumbersOfType:
      SetExtensionNumbers(pool, request.all_extension_numbers_of_type(), response);
      break;
    case Request::kListServices:
      for (const std::string& name : services) response.mutable_list_services_response()->add_service()->set_name(name);
      break;
    default:
      response.mutable_error_response()->set_error_code(grpc::StatusCode::INVALID_ARGUMENT);
      response.mutable_error_response()->set_error_message("nothing is asked");
  }
  return response;
}

// Time for a caller's requests and for taking the answers. With more requests it begins another stream.
constexpr std::chrono::seconds kLongestConversation(10);

// One stream. Reads the next request when the answer to the last one has left.
class Conversation final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Conversation(const grpc::ServerContextBase& context, Services services, std::shared_ptr<void> call)
      : services_(std::move(services)),
        call_(std::move(call)),
        timer_(context, SteadyClock::now() + kLongestConversation) {
    StartRead(&bytes_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    reflection_v1::ServerReflectionRequest request;
    if (const absl::Status status = ParseShortRequest(bytes_, request); !status.ok()) {
      return Finish(ToGrpcStatus(status));
    }
    bytes_ = SerializeMessage(Answer(request, *services_));
    StartWrite(&bytes_);
  }
  void OnWriteDone(bool ok) override { ok ? StartRead(&bytes_) : Finish(grpc::Status::OK); }
  void OnDone() override { delete this; }

 private:
  const Services services_;
  const std::shared_ptr<void> call_;
  const CallTimer timer_;
  grpc::ByteBuffer bytes_;
};

// The service under one of its names.
class Reflection final : public RawService {
 public:
  Reflection(std::string_view name, const Services& services) : RawService(name) {
    AddBidiStream("ServerReflectionInfo", [services](auto* context, auto call) {
      return new Conversation(*context, services, std::move(call));
    });
  }
};

}  // namespace

std::vector<std::unique_ptr<grpc::Service>> MakeReflection(std::vector<std::string> services) {
  // Makes the linker keep the descriptors, which nothing else in a server needs.
  grpc::health::v1::HealthCheckRequest::descriptor();
  reflection_v1alpha::ServerReflectionRequest::descriptor();
  const std::vector<std::string> names = {reflection_v1::ServerReflection::service_full_name(),
                                          reflection_v1alpha::ServerReflection::service_full_name()};
  services.insert(services.end(), names.begin(), names.end());
  const auto shared = std::make_shared<const std::vector<std::string>>(std::move(services));
  std::vector<std::unique_ptr<grpc::Service>> result;
  for (const std::string& name : names) result.push_back(std::make_unique<Reflection>(name, shared));
  return result;
}

}  // namespace diptych
