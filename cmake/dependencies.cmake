# Finds everything that the project links. Each name that is missing is installed by scripts/setup.sh.

find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)       # module mode: Debian ships no protobuf config
find_package(gRPC CONFIG REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(CURL REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(GTest CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LibJPEG REQUIRED IMPORTED_TARGET libjpeg)
pkg_check_modules(LibEdit REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(LibPNG REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(LibWebP REQUIRED IMPORTED_TARGET libwebp libwebpdemux)
find_package(ZLIB REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(Highway REQUIRED IMPORTED_TARGET libhwy)
find_package(OpenMP COMPONENTS CXX)  # the compiler's own; at run time libtorch's library of the same name serves both

# Debian's OpenCV component packages carry no CMake config; the whole libopencv-dev, which does, is 1 GB.
find_path(OPENCV_INCLUDE opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
add_library(diptych_opencv INTERFACE)
target_include_directories(diptych_opencv SYSTEM INTERFACE ${OPENCV_INCLUDE})
find_library(OPENCV_CORE opencv_core REQUIRED)
target_link_libraries(diptych_opencv INTERFACE ${OPENCV_CORE})

# libtorch comes as the PyPI wheel. Its own CMake package demands a CUDA toolkit, so the few facts
# that are needed stand here. The CUDA half, where it is installed, is opened at run time.
set(TORCH_ROOT "${CMAKE_SOURCE_DIR}/.deps/torch/torch" CACHE PATH "Folder that holds libtorch's include/ and lib/")
if(NOT EXISTS "${TORCH_ROOT}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "libtorch is not in ${TORCH_ROOT}. Run scripts/setup.sh, or pass -DTORCH_ROOT=<folder of an installed torch>.")
endif()
add_library(diptych_torch INTERFACE)
target_include_directories(diptych_torch SYSTEM INTERFACE "${TORCH_ROOT}/include")
target_link_directories(diptych_torch INTERFACE "${TORCH_ROOT}/lib")
target_link_libraries(diptych_torch INTERFACE torch_cpu c10)
file(GLOB torch_runtime_folders "${TORCH_ROOT}/../nvidia/*/lib")
# An old-style rpath also serves the libraries of the libraries.
target_link_options(diptych_torch INTERFACE "-Wl,--disable-new-dtags")
set(CMAKE_BUILD_RPATH "${TORCH_ROOT}/lib")
foreach(folder IN LISTS torch_runtime_folders)
  cmake_path(NORMAL_PATH folder)
  target_link_options(diptych_torch INTERFACE "-Wl,-rpath-link,${folder}")
  list(APPEND CMAKE_BUILD_RPATH ${folder})
endforeach()
