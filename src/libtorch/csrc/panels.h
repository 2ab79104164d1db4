// What training has, laid out as operands of matmul.h.
#pragma once
#include "matmul.h"
#include "row_access.h"

namespace panels {

// A ternary weight [n, k] as operand of both passes; made once an optimizer step.
struct Weight {
  at::Tensor codes;   // uint8, code + 1: panels of 32 outputs, depth k
  at::Tensor values;  // code * scale: in bfloat16 panels of 32 inputs, depth n; in float32 the plain matrix [n, k]
  at::Tensor scale;   // float32 [1]
};

Weight pack_weight(const at::Tensor& weight, bool to_bfloat16);

// Bytes of a row of int8 codes: rows a power of two apart would share the few places that a cache has for them.
inline int64_t code_stride(int64_t size) {
  const int64_t depth = matmul::round_up(size, matmul::kDepthStep);
  return depth % 4096 == 0 ? depth + matmul::kDepthStep : depth;
}

// A bfloat16 matrix with both sizes a multiple of 32, contiguous: `matrix` itself where it is so.
at::Tensor padded(const at::Tensor& matrix);

// A matrix [n, k] in bfloat16 as right operand in two ways: its rows as columns, depth k, and its columns as columns, depth n.
struct Values {
  at::Tensor columns, interleaved;
};
Values pack_values(const at::Tensor& matrix);

// Rows `begin` to `end` of a padded bfloat16 matrix as panels of 32 columns, depth rows.
at::Tensor interleave_bfloat16(const at::Tensor& matrix, int64_t begin, int64_t end);

// Of rows `begin` to `end` of int8 codes, each divided by its row's scale, as bfloat16 panels of 32 columns, depth rows: the pairs of rows
// `first` to `last`, into `out`.
void interleave_rows(const at::Tensor& codes, const at::Tensor& scales, int64_t size, int64_t begin, int64_t end, int64_t first, int64_t last,
                     const at::Tensor& out);

// Rows `begin` to `end` of a padded bfloat16 matrix, transposed: [columns / 32][rows / 32][32 columns][32 rows].
at::Tensor transposed_rows(const at::Tensor& matrix, int64_t begin, int64_t end);

}  // namespace panels
