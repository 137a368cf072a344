// Linear maps on the CPU with weights of 8 or 4 bits.
#pragma once

#include <cstdint>

#include "blip2/kernels/epilogue.h"
#include "blip2/kernels/integer_activations.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

// y [rows, out] = x · weightᵀ + bias, and what `epilogue` makes of it. Products are summed exactly in blocks of
// BlockInputs(x.bits) inputs, and the blocks in float32 in their order: a row has the same bits in every batch, on any
// number of threads and in both forms of a product, for few rows and for many. Runs on libtorch's threads; reads the
// weights once from memory.
void MultiplyIntegers(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, float* y);

}  // namespace diptych::blip2
