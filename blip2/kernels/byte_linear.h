// The integer product by instructions that multiply bytes (AVX-512 VNNI).
#pragma once

#include "blip2/kernels/epilogue.h"
#include "blip2/kernels/integer_activations.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

// As MultiplyIntegers, with the same bits for every number of rows. Requires: x.bits is k7, and the processor has
// InstructionSet::kAvx512Vnni.
void MultiplyBytes(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, float* y);

}  // namespace diptych::blip2
