# diptych_library(NAME n HDRS ... SRCS ... DEPS ...), diptych_binary(...), diptych_test(...): one way to
# declare a target. With CMAKE_UNITY_BUILD (preset release) the sources of a target are compiled in batches, because
# gRPC's and ATen's headers take longer than our code; SKIP names sources that must stand alone. The presets debug and
# clang compile each source by itself. ATEN: most sources include ATen/ATen.h, which is parsed once for all such targets.
# FIRST: the test is compiled with the programs, since it takes long to run; the others may be compiled while tests run
# (scripts/run_tests.sh), and wait for that.

set(DIPTYCH_SANITIZE "" CACHE STRING "Sanitizers for our code, for example address,undefined")

set(DIPTYCH_TEST_TIMEOUT 300)  # seconds
if(DIPTYCH_SANITIZE)
  set(DIPTYCH_TEST_TIMEOUT 3000)
endif()

add_library(diptych_compile_options INTERFACE)
target_compile_options(diptych_compile_options INTERFACE -fPIE -pthread -Wall -Wextra -Wno-unused-parameter -ffp-contract=off
                       $<$<CXX_COMPILER_ID:Clang>:-Werror=thread-safety>
                       $<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-heapsize=1000000>)  # kB; collecting less saves a twelfth
target_include_directories(diptych_compile_options INTERFACE ${CMAKE_SOURCE_DIR})
target_link_options(diptych_compile_options INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack)  # tests/hardening_test.py
if(DIPTYCH_SANITIZE)
  target_compile_options(diptych_compile_options INTERFACE -fsanitize=${DIPTYCH_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize=vptr -fno-sanitize-recover=undefined
                         -fsanitize-recover=enum)  # gRPC's headers keep any number that a peer sends as a status's code
  target_link_options(diptych_compile_options INTERFACE -fsanitize=${DIPTYCH_SANITIZE} -fno-sanitize=vptr)
  if(DIPTYCH_SANITIZE STREQUAL "thread")
    # Protobuf's headers lay messages out differently for this macro, and the system's library was built without it.
    target_compile_options(diptych_compile_options INTERFACE -U__SANITIZE_THREAD__)
  endif()
endif()

# What makes a fault of memory harder to use (tests/hardening_test.py). For libraries and programs; tests are not optimised.
add_library(diptych_hardening INTERFACE)
if(NOT DIPTYCH_SANITIZE)
  target_compile_options(diptych_hardening INTERFACE
    -fstack-protector-strong -fstack-clash-protection
    $<$<CONFIG:Release>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=3>)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(diptych_hardening INTERFACE -fcf-protection)
  endif()
endif()

# The commit that is built; -DDIPTYCH_COMMIT names it where there is no repository.
set(DIPTYCH_COMMIT "" CACHE STRING "Commit to report; empty: that of the repository")
if(NOT DIPTYCH_COMMIT)
  set(DIPTYCH_COMMIT unknown)
  execute_process(COMMAND git rev-parse --short=12 HEAD WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
                  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  execute_process(COMMAND git rev-parse --path-format=absolute --git-path logs/HEAD WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
                  OUTPUT_VARIABLE head_log OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed)
    set(DIPTYCH_COMMIT ${commit})
    if(EXISTS "${head_log}")  # configure again when another commit is checked out
      set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${head_log}")
    endif()
  endif()
endif()

# Compiles in half the time; what is tested lies in libraries, which are optimised.
set(diptych_test_options $<$<CONFIG:Release>:-O0>)
if(DIPTYCH_SANITIZE)
  set(diptych_test_options -O0)
endif()

# diptych_begin_with(target kind headers...): its sources begin with these headers of other projects as they were parsed once for all targets of
# that kind (docs/decisions/0080). GCC only: Clang wants equal definitions, too.
function(diptych_begin_with target kind)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  set(parsed parsed_for_${kind})
  if(NOT TARGET ${parsed})
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/${parsed}.cc CONTENT "// Only what is precompiled counts.\n")
    add_library(${parsed} OBJECT ${CMAKE_BINARY_DIR}/${parsed}.cc)
    target_link_libraries(${parsed} PRIVATE diptych_compile_options diptych_torch gRPC::grpc++)
    diptych_choose_options(${parsed})
    target_compile_options(${parsed} PRIVATE -fpch-preprocess)
    target_precompile_headers(${parsed} PRIVATE ${ARGN})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${parsed})
  target_compile_options(${target} PRIVATE -fpch-preprocess)  # for ccache
endfunction()

# Below tests/ those of a test, else those of what is shipped.
function(diptych_choose_options target)
  if(DIPTYCH_COMPILE_AS_TESTS)
    target_compile_options(${target} PRIVATE ${diptych_test_options})
    target_link_libraries(${target} PRIVATE GTest::gmock)
  else()
    target_link_libraries(${target} PRIVATE diptych_hardening)
  endif()
endfunction()

# diptych_compile(target aten): `aten` says whether most of its sources include ATen/ATen.h.
function(diptych_compile target aten)
  diptych_choose_options(${target})
  if(DIPTYCH_COMPILE_AS_TESTS AND aten)
    diptych_begin_with(${target} tests_with_aten <ATen/ATen.h> <gmock/gmock.h>)
  elseif(DIPTYCH_COMPILE_AS_TESTS)
    diptych_begin_with(${target} tests <gmock/gmock.h> <grpcpp/grpcpp.h>)
  elseif(aten)
    diptych_begin_with(${target} programs_with_aten <ATen/ATen.h>)
  endif()
endfunction()

function(diptych_library)
  cmake_parse_arguments(arg "ATEN" "NAME" "HDRS;SRCS;DEPS;SKIP" ${ARGN})
  if(arg_SRCS)
    add_library(${arg_NAME} STATIC ${arg_SRCS} ${arg_HDRS})
    target_link_libraries(${arg_NAME} PUBLIC diptych_compile_options ${arg_DEPS})
    diptych_compile(${arg_NAME} ${arg_ATEN})
    set_source_files_properties(${arg_SKIP} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  else()
    add_library(${arg_NAME} INTERFACE ${arg_HDRS})
    target_link_libraries(${arg_NAME} INTERFACE diptych_compile_options ${arg_DEPS})
  endif()
endfunction()

function(diptych_binary)
  cmake_parse_arguments(arg "ATEN" "NAME" "SRCS;DEPS" ${ARGN})
  add_executable(${arg_NAME} ${arg_SRCS})
  target_link_libraries(${arg_NAME} PRIVATE diptych_compile_options ${arg_DEPS})
  diptych_compile(${arg_NAME} ${arg_ATEN})
endfunction()

function(diptych_test)
  cmake_parse_arguments(arg "ATEN;FIRST" "NAME;PROCESSORS" "SRCS;DEPS;SKIP" ${ARGN})
  add_executable(${arg_NAME} ${arg_SRCS})
  set_target_properties(${arg_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${arg_NAME} PRIVATE diptych_compile_options ${arg_DEPS} GTest::gtest_main)
  diptych_compile(${arg_NAME} ${arg_ATEN})
  set_source_files_properties(${arg_SKIP} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  add_test(NAME ${arg_NAME} COMMAND ${arg_NAME} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${arg_NAME} PROPERTIES TIMEOUT ${DIPTYCH_TEST_TIMEOUT})
  if(arg_FIRST)
    add_dependencies(first_to_test ${arg_NAME})
  else()
    set_tests_properties(${arg_NAME} PROPERTIES FIXTURES_REQUIRED compiled_tests)
  endif()
  if(arg_PROCESSORS)  # that it keeps busy; most tests wait for others
    set_tests_properties(${arg_NAME} PROPERTIES PROCESSORS ${arg_PROCESSORS})
  endif()
  set_tests_properties(${arg_NAME} PROPERTIES LABELS unit)
endfunction()
