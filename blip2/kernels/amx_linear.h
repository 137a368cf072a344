// The product of integer_linear.h for many rows, by the tiles of AMX.
#pragma once

#include "blip2/kernels/integer_activations.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

// As MultiplyIntegers, bit for bit. Requires: InstructionSet::kAmx.
void MultiplyTiles(const IntegerWeights& weights, const IntegerRows& x, float* y);

}  // namespace diptych::blip2
