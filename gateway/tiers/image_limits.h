// What the tiers' bounds on an image make of the gateway's own.
#pragma once

#include <string>
#include <vector>

#include "common/images/image_header.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::gateway {

// Lowers `limits` to what the description says that its tier takes; one without bounds says nothing.
void NarrowTo(const v1::ModelDescription& tier, ImageLimits& limits);

// A line for each bound of the gateway's `own` that is above its default although a tier has a smaller one.
std::vector<std::string> RaisedInVain(const ImageLimits& own, const v1::ModelDescription& language,
                                      const v1::ModelDescription& vision);

}  // namespace diptych::gateway
