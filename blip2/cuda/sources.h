// The text of the kernels. Written into the program by CMakeLists.txt.
#pragma once

namespace diptych::blip2 {

extern const char* const kFloat8Rows;            // float8_rows.cu
extern const char* const kPagedDecodeAttention;  // paged_decode_attention.cu

}  // namespace diptych::blip2
