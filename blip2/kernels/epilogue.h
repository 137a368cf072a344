// Operations on a product's sums before they are stored.
#pragma once

#include <cstdint>

namespace diptych::blip2 {

enum class Activation { kNone, kRelu, kGelu };  // kGelu: x·Φ(x) with the exact Φ

// y = activation(x · weightᵀ + bias) + residual
template <typename T>
struct Epilogue {
  Activation activation = Activation::kNone;
  const T* residual = nullptr;  // [rows, out] or null: none. Not y
};

// Does that to y [count], which holds the sums with their bias. Runs on libtorch's threads.
void Finish(const Epilogue<float>& epilogue, int64_t count, float* y);

}  // namespace diptych::blip2
