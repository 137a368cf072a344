// Where a tier computes.
#pragma once

#include "diptych/v1/inference.pb.h"

namespace diptych {

// Whether its description names a card; one without a device is of the CPU.
inline bool IsOnCard(const v1::ModelDescription& model) {
  return !model.device().empty() && model.device() != "cpu";
}

}  // namespace diptych
