// What `diptych plan-capacity` shows.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/capacity/plan.h"

namespace diptych::cli {

nlohmann::ordered_json CapacityJson(const CapacityPlan& plan, const Hardware& hardware);

// `vision_unit` and `language_unit`: "core" or "GPU".
std::string CapacityText(const CapacityPlan& plan, const Hardware& hardware, const std::string& vision_unit,
                         const std::string& language_unit);

}  // namespace diptych::cli
