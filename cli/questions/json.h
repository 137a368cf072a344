// The output of commands with --json.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/text/message_json.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::cli {

// One line of `ask --json`: image, question, answer and everything else in `answer`.
nlohmann::ordered_json AnswerJson(const std::string& image, const std::string& question, const v1::Answer& answer);

// Prints one object on one line of standard output.
void PrintJson(const nlohmann::ordered_json& object);

}  // namespace diptych::cli
