// Metadata whose values come from outside.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace diptych {

// True for what gRPC sends as the value of a text header: printable ASCII. Over any other value it ends the process,
// and prints the value.
bool IsMetadataValue(std::string_view value);

// `text` without white space around it, over which a strict HTTP/2 (RFC 9113, 8.2.1) ends the whole connection. For
// whatever travels in a header: metadata, and messages of statuses.
std::string HeaderText(std::string_view text);

// Adds HeaderText(value) under `name`; adds nothing if it is no metadata value.
void AddMetadata(grpc::ClientContext& context, const std::string& name, const std::string& value);
void AddTrailingMetadata(grpc::ServerContextBase& context, const std::string& name, const std::string& value);

// As HTTP/2 counts it: names, values and 32 bytes for each.
size_t MetadataBytes(const grpc::ServerContextBase& context);

// The name of the caller's key goes with a request from process to process, for their logs.
void SendKeyName(grpc::ClientContext& context, const std::string& name);
// Empty if none came, or one that no line of a log may hold. Who calls may say what it likes: it is good for a log
// only.
std::string KeyNameOf(const grpc::ServerContextBase& context);

// The same for the id of the request, by which the lines of all processes are found. Over HTTP it is the header of this
// name, too.
inline constexpr char kRequestId[] = "x-request-id";
void SendRequestId(grpc::ClientContext& context, const std::string& id);
std::string RequestIdOf(const grpc::ServerContextBase& context);

// The name of the place in the gateway's gate that the calls of one request share. Empty if none came.
void SendPlace(grpc::ClientContext& context, const std::string& name);
std::string PlaceOf(const grpc::ServerContextBase& context);

}  // namespace diptych
