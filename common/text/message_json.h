// Messages as JSON for people and scripts.
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json_fwd.hpp>

namespace diptych {

// Every field under its proto name, also those with default values; durations in seconds, enum values
// without their prefix ("STOP"). Unset messages are null.
nlohmann::ordered_json ToJson(const google::protobuf::Message& message);

}  // namespace diptych
