// Memory that a kernel writes before it reads it.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace diptych::blip2 {

// Leaves numbers as they are found, where std::allocator would set each to 0 first, on one thread; they begin with a
// line of the cache, without which a tile's rows would lie in two lines each.
template <typename T>
struct UninitializedAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  UninitializedAllocator() = default;
  template <typename U>
  UninitializedAllocator(const UninitializedAllocator<U>&) noexcept {}  // NOLINT(google-explicit-constructor)

  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kLine)); }
  void deallocate(T* at, size_t) noexcept { ::operator delete(at, kLine); }
  template <typename U>
  void construct(U* at) noexcept {
    ::new (static_cast<void*>(at)) U;
  }
  bool operator==(const UninitializedAllocator&) const { return true; }
};

template <typename T>
using Uninitialized = std::vector<T, UninitializedAllocator<T>>;

}  // namespace diptych::blip2
