// The compiler that comes with torch's CUDA libraries, or scripts/setup.sh's, which needs no card.
#pragma once

#include <dlfcn.h>

#include <string>

#include "tests/testing/paths.h"

namespace diptych::blip2 {

// False if there is none.
inline bool OpenNvrtcForTests() {
  const std::string fetched = diptych::testing::RepositoryPath(".deps/nvrtc/nvidia/cu13/lib/libnvrtc.so.13");
  return dlopen(fetched.c_str(), RTLD_NOW) != nullptr || dlopen("libnvrtc.so.13", RTLD_NOW) != nullptr;
}

}  // namespace diptych::blip2
