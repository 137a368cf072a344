// The product of integer_linear.h for many rows, by the tiles of AMX.
#pragma once

#include "blip2/kernels/epilogue.h"
#include "blip2/kernels/integer_activations.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

// As MultiplyIntegers, bit for bit. Requires: x.bits is k7, and the processor has InstructionSet::kAmx.
void MultiplyTiles(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, float* y);

}  // namespace diptych::blip2
