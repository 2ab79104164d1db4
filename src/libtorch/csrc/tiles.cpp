// The loops of kernels.h that make and unmake the tiles of matmul.h.
#include "kernels.h"

namespace rows {

constexpr int64_t kTile = 32;

VECTORIZED int32_t int8_codes(const float* row, float scale, int8_t* out, int64_t size) {
  int32_t sum = 0;
  for (int64_t index = 0; index < size; ++index) {
    float code = row[index] * scale;
    code = code < -128.f ? -128.f : code;
    code = code > 127.f ? 127.f : code;
    const int32_t rounded = static_cast<int32_t>(std::nearbyint(code));
    out[index] = static_cast<int8_t>(rounded);
    sum += rounded;
  }
  return sum;
}

VECTORIZED void dequantized(const int8_t* codes, float scale, uint16_t* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) store(static_cast<float>(codes[index]) / scale, out + index);
}
VECTORIZED void dequantized(const int8_t* codes, float scale, float* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) store(static_cast<float>(codes[index]) / scale, out + index);
}

VECTORIZED void ternary_codes(const float* row, float scale, uint8_t* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) {
    float code = row[index] / scale;
    code = code < -1.f ? -1.f : code;
    code = code > 1.f ? 1.f : code;
    out[index] = static_cast<uint8_t>(static_cast<int32_t>(std::nearbyint(code)) + 1);
  }
}

VECTORIZED void interleave(const uint16_t* even, const uint16_t* odd, uint32_t* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) out[index] = even[index] | static_cast<uint32_t>(odd[index]) << 16;
}

VECTORIZED void transpose_groups(const uint8_t* rows, int64_t depth, uint8_t* out) {
  for (int64_t group = 0; group < depth / 4; ++group) {
    for (int64_t row = 0; row < kTile; ++row) std::memcpy(out + (group * kTile + row) * 4, rows + row * depth + group * 4, 4);
  }
}

template <typename Out>
static inline void scaled(const int32_t* tile, const int32_t* offsets, const float* scales, float weight_scale, Out* out, int64_t stride,
                          int64_t num_rows, int64_t num_columns) {
  for (int64_t row = 0; row < num_rows; ++row, tile += kTile, out += stride) {
    const float scale = weight_scale / scales[row];
    for (int64_t column = 0; column < num_columns; ++column) store(static_cast<float>(tile[column] - offsets[row]) * scale, out + column);
  }
}

VECTORIZED void store_scaled(const int32_t* tile, const int32_t* offsets, const float* scales, float weight_scale, uint16_t* out,
                             int64_t stride, int64_t num_rows, int64_t num_columns) {
  scaled(tile, offsets, scales, weight_scale, out, stride, num_rows, num_columns);
}
VECTORIZED void store_scaled(const int32_t* tile, const int32_t* offsets, const float* scales, float weight_scale, float* out,
                             int64_t stride, int64_t num_rows, int64_t num_columns) {
  scaled(tile, offsets, scales, weight_scale, out, stride, num_rows, num_columns);
}
VECTORIZED void add_scaled(const int32_t* tile, const int32_t* offsets, const float* scales, float weight_scale, const float* residual,
                           float* out, int64_t stride, int64_t num_rows, int64_t num_columns) {
  for (int64_t row = 0; row < num_rows; ++row, tile += kTile, out += stride, residual += stride) {
    const float scale = weight_scale / scales[row];
    for (int64_t column = 0; column < num_columns; ++column) {
      out[column] = residual[column] + static_cast<float>(tile[column] - offsets[row]) * scale;
    }
  }
}

template <bool is_added, typename Out>
static inline void stored(const float* tile, Out* out, int64_t stride, int64_t num_rows, int64_t num_columns) {
  for (int64_t row = 0; row < num_rows; ++row, tile += kTile, out += stride) {
    for (int64_t column = 0; column < num_columns; ++column) {
      if constexpr (is_added) {
        out[column] += tile[column];
      } else {
        store(tile[column], out + column);
      }
    }
  }
}

VECTORIZED void store_tile(const float* tile, uint16_t* out, int64_t stride, int64_t num_rows, int64_t num_columns) {
  stored<false>(tile, out, stride, num_rows, num_columns);
}
VECTORIZED void store_tile(const float* tile, float* out, int64_t stride, int64_t num_rows, int64_t num_columns) {
  stored<false>(tile, out, stride, num_rows, num_columns);
}
VECTORIZED void add_tile(const float* tile, float* out, int64_t stride, int64_t num_rows, int64_t num_columns) {
  stored<true>(tile, out, stride, num_rows, num_columns);
}

}  // namespace rows
