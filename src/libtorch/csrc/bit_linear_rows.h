// The rows of a BitLinear's input: from what arrives to int8 codes, and from the gradient of what was quantized back. Some rows at a time, so
// that bit_linear.cpp can do both beside its products, while they are in the cache. libtorch checks a tensor's type whenever its data are
// asked for, which takes as long as a short row: so it is done once for some rows.
#pragma once
#include "row_access.h"

namespace bit_linear {

// What is quantized: rows of `input`, or of relu(input)^2 * up; normed first where there is a norm. All contiguous.
struct Source {
  at::Tensor input, up, norm;  // [.., size]; the same or none; [size] or none
  double eps;

  int64_t size() const { return input.size(-1); }
  int64_t num_rows() const { return input.numel() / size(); }

  // Raises where they do not fit each other.
  void check() const;

};

// Rows of int8 codes, of which row r stands for codes / scales[r]; offsets[r] is the sum of its codes. The rows of codes are filled up
// to a multiple of 32, their width to one of 64.
struct Codes {
  at::Tensor codes, scales, offsets, inverses;  // the last: of the norm, 1 / sqrt(mean square + eps)
};

// Place for those of `source`.
Codes codes_for(const Source& source);

// Rows `begin` to `end` of `out`; rows beyond those of the source are zero.
void quantize_rows(const Source& source, int64_t begin, int64_t end, const Codes& out);

// The gradients of a source, filled row by row.
struct SourceGradients {
  at::Tensor input, up, norms;  // like the source; the last: float32 [strips of 32 rows, size], to be summed

  explicit SourceGradients(const Source& source);

  // Rows `begin` to `end`, from the gradients of what was quantized, `arriving` [end - begin, size], bfloat16 or float32. Rows of one strip
  // come from one thread.
  template <typename Number>
  void set_rows(const Source& source, const at::Tensor& inverses, int64_t begin, int64_t end, const Number* arriving) const;
};

}  // namespace bit_linear
