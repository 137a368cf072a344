// Messages as JSON for scripts.
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "diptych/v1/inference.pb.h"

namespace diptych::cli {

// Every field under its proto name, also those with default values; durations in seconds, enum values
// without their prefix ("STOP"). Unset messages are null.
nlohmann::ordered_json ToJson(const google::protobuf::Message& message);

// One line of `ask --json`: image, question, answer and everything else in `answer`.
nlohmann::ordered_json AnswerJson(const std::string& image, const std::string& question, const v1::Answer& answer);

// Prints one object on one line of standard output.
void PrintJson(const nlohmann::ordered_json& object);

}  // namespace diptych::cli
