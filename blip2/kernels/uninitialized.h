// Memory that a kernel writes before it reads it.
#pragma once

#include <memory>
#include <new>
#include <vector>

namespace diptych::blip2 {

// Leaves numbers as they are found, where std::allocator would set each to 0 first, on one thread.
template <typename T>
struct UninitializedAllocator : std::allocator<T> {
  template <typename U>
  void construct(U* at) noexcept {
    ::new (static_cast<void*>(at)) U;
  }
};

template <typename T>
using Uninitialized = std::vector<T, UninitializedAllocator<T>>;

}  // namespace diptych::blip2
