// Reading tensors row by row, on the CPU.
#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <new>
#include <vector>

#include "kernels.h"

constexpr float kSmallestScale = 1e-5f;
// Sums over rows are added in so many parts, whatever the number of threads, so that they are the same for each.
constexpr int64_t kParts = 16;

// Memory that begins with a cache line, as the rows of tiles should.
template <typename Number>
struct CacheAligned {
  using value_type = Number;
  CacheAligned() = default;
  template <typename Other>
  CacheAligned(const CacheAligned<Other>&) {}
  Number* allocate(size_t count) { return static_cast<Number*>(::operator new(count * sizeof(Number), std::align_val_t(64))); }
  void deallocate(Number* numbers, size_t) { ::operator delete(numbers, std::align_val_t(64)); }
  bool operator==(const CacheAligned&) const { return true; }
  bool operator!=(const CacheAligned&) const { return false; }
};
template <typename Number>
using Buffer = std::vector<Number, CacheAligned<Number>>;

inline uint16_t* bits(const at::Tensor& tensor) { return static_cast<uint16_t*>(tensor.data_ptr()); }

template <typename Body>
void for_each_row(int64_t num_rows, int64_t size, Body body) {
  at::parallel_for(0, num_rows, std::max<int64_t>(1, 32768 / std::max<int64_t>(size, 1)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row);
  });
}

// Calls `body` with the start and the length of spans that cover `tensor`.
template <typename Body>
void for_each_span(const at::Tensor& tensor, Body body) {
  at::parallel_for(0, tensor.numel(), 32768, [&](int64_t begin, int64_t end) { body(begin, end - begin); });
}

// Row `row` of a contiguous matrix as float32; `buffer` holds it where it has to be converted.
inline const float* as_float(const at::Tensor& matrix, int64_t row, int64_t size, std::vector<float>& buffer) {
  if (matrix.scalar_type() == at::kFloat) return matrix.const_data_ptr<float>() + row * size;
  buffer.resize(size);
  rows::widen(bits(matrix) + row * size, buffer.data(), size);
  return buffer.data();
}

inline at::Tensor readable(const at::Tensor& tensor) {
  auto kind = tensor.scalar_type();
  return (kind == at::kFloat || kind == at::kBFloat16 ? tensor : tensor.to(at::kFloat)).contiguous();
}

// The loops read by pointer, so what they rely on is checked before them.
inline void require_rows(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.device().is_cpu() && tensor.is_floating_point(), "a fused operation needs floats on the CPU, not ", tensor.toString());
  TORCH_CHECK(tensor.dim() > 0 && tensor.size(-1) > 0, "a fused operation needs rows, not the shape ", tensor.sizes());
}

inline at::ScalarType scalar_type(bool is_bfloat16) { return is_bfloat16 ? at::kBFloat16 : at::kFloat; }

// max(mean|W|, 1e-5) of a contiguous float32 matrix.
inline float absmean_scale(const at::Tensor& matrix) {
  const float* values = matrix.const_data_ptr<float>();
  int64_t count = matrix.numel(), part = (count + kParts - 1) / kParts;
  double sums[kParts] = {};
  at::parallel_for(0, kParts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      sums[index] = rows::sum_of_magnitudes(values + index * part, std::max<int64_t>(0, std::min(part, count - index * part)));
    }
  });
  double sum = 0;
  for (double one : sums) sum += one;
  float mean = static_cast<float>(sum / count);
  return mean < kSmallestScale ? kSmallestScale : mean;
}
