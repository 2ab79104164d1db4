// Tiles with AVX-512's dot products: eight rows of two vectors at a time.
#include "matmul.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#include <immintrin.h>

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")

namespace matmul {
namespace {

constexpr int kRows = 8, kGroups = kDepthStep / 4;

inline __m512i four_bytes(const uint8_t* place) {
  int32_t group;
  std::memcpy(&group, place, sizeof group);
  return _mm512_set1_epi32(group);
}

// sums[row][half] += left group of the row x panel's groups of 16 columns
#define BITNET_ACCUMULATE(zero, multiply)                                                          \
  for (int row = 0; row < kRows; ++row) sums[row][0] = sums[row][1] = zero;                        \
  for (int64_t index = 0; index < count; ++index) {                                                \
    const Part& part = parts[index];                                                               \
    const uint8_t *left = part.left + first * part.stride, *panel = part.panel;                    \
    for (int64_t depth = 0; depth < part.depth; depth += kDepthStep, left += part.step) {          \
      for (int group = 0; group < kGroups; ++group, panel += kTile * 4) {                          \
        const __m512i right0 = _mm512_loadu_si512(panel), right1 = _mm512_loadu_si512(panel + 64); \
        _Pragma("GCC unroll 8") for (int row = 0; row < kRows; ++row) {                            \
          const __m512i groups = four_bytes(left + row * part.stride + group * 4);                 \
          sums[row][0] = multiply(sums[row][0], groups, right0);                                   \
          sums[row][1] = multiply(sums[row][1], groups, right1);                                   \
        }                                                                                          \
      }                                                                                            \
    }                                                                                              \
  }

// The instruction takes the unsigned operand first.
inline __m512i dot_int8(__m512i sums, __m512i left, __m512i right) { return _mm512_dpbusd_epi32(sums, right, left); }

inline __m512 dot_bfloat16(__m512 sums, __m512i left, __m512i right) {
  return _mm512_dpbf16_ps(sums, (__m512bh)left, (__m512bh)right);
}

void int8(const Part* parts, int64_t count, int32_t* tile) {
  for (int first = 0; first < kTile; first += kRows) {
    __m512i sums[kRows][2];
    BITNET_ACCUMULATE(_mm512_setzero_si512(), dot_int8)
    for (int row = 0; row < kRows; ++row) {
      _mm512_storeu_si512(tile + (first + row) * kTile, sums[row][0]);
      _mm512_storeu_si512(tile + (first + row) * kTile + 16, sums[row][1]);
    }
  }
}

void bfloat16(const Part* parts, int64_t count, float* tile) {
  for (int first = 0; first < kTile; first += kRows) {
    __m512 sums[kRows][2];
    BITNET_ACCUMULATE(_mm512_setzero_ps(), dot_bfloat16)
    for (int row = 0; row < kRows; ++row) {
      _mm512_storeu_ps(tile + (first + row) * kTile, sums[row][0]);
      _mm512_storeu_ps(tile + (first + row) * kTile + 16, sums[row][1]);
    }
  }
}

void begin(void*) {}
void end(const void*) {}

// 16 x 16 numbers of 32 bits, transposed in registers.
inline void transpose(__m512i* rows) {
  __m512i pairs[16], quads[16];
  for (int row = 0; row < 16; row += 2) {
    pairs[row] = _mm512_unpacklo_epi32(rows[row], rows[row + 1]);
    pairs[row + 1] = _mm512_unpackhi_epi32(rows[row], rows[row + 1]);
  }
  for (int row = 0; row < 16; row += 4) {
    quads[row] = _mm512_unpacklo_epi64(pairs[row], pairs[row + 2]);
    quads[row + 1] = _mm512_unpackhi_epi64(pairs[row], pairs[row + 2]);
    quads[row + 2] = _mm512_unpacklo_epi64(pairs[row + 1], pairs[row + 3]);
    quads[row + 3] = _mm512_unpackhi_epi64(pairs[row + 1], pairs[row + 3]);
  }
  // quads[4 i + j], lane l: column 4 l + j of rows 4 i to 4 i + 3
  for (int column = 0; column < 4; ++column) {
    const __m512i low0 = _mm512_shuffle_i32x4(quads[column], quads[4 + column], 0x88);
    const __m512i high0 = _mm512_shuffle_i32x4(quads[column], quads[4 + column], 0xdd);
    const __m512i low1 = _mm512_shuffle_i32x4(quads[8 + column], quads[12 + column], 0x88);
    const __m512i high1 = _mm512_shuffle_i32x4(quads[8 + column], quads[12 + column], 0xdd);
    rows[column] = _mm512_shuffle_i32x4(low0, low1, 0x88);
    rows[4 + column] = _mm512_shuffle_i32x4(high0, high1, 0x88);
    rows[8 + column] = _mm512_shuffle_i32x4(low0, low1, 0xdd);
    rows[12 + column] = _mm512_shuffle_i32x4(high0, high1, 0xdd);
  }
}

}  // namespace

void transpose_block(const uint16_t* left, int64_t stride, uint16_t* out) {
  __m512i low[16], high[16];  // pairs of rows: columns 0 to 15, and 16 to 31
  const __m512i first = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34,
                                         2, 33, 1, 32, 0);
  const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
  for (int pair = 0; pair < 16; ++pair) {
    const __m512i even = _mm512_loadu_si512(left + 2 * pair * stride), odd = _mm512_loadu_si512(left + (2 * pair + 1) * stride);
    low[pair] = _mm512_permutex2var_epi16(even, first, odd);
    high[pair] = _mm512_permutex2var_epi16(even, second, odd);
  }
  transpose(low);
  transpose(high);
  for (int column = 0; column < 16; ++column) {
    _mm512_storeu_si512(out + column * kTile, low[column]);
    _mm512_storeu_si512(out + (16 + column) * kTile, high[column]);
  }
}

namespace {

// 32 numbers of a row, of which `columns` are seen.
inline void store(__m512 low, __m512 high, float* out, uint32_t columns) {
  _mm512_mask_storeu_ps(out, columns & 0xffff, low);
  _mm512_mask_storeu_ps(out + 16, columns >> 16, high);
}
inline void store(__m512 low, __m512 high, uint16_t* out, uint32_t columns) {
  _mm512_mask_storeu_epi16(out, columns, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

inline uint32_t first_columns(int64_t count) { return count >= kTile ? ~0u : (1u << count) - 1; }

template <bool has_residual, typename Out>
void scaled(const int32_t* tile, const Scales& scales, const float* residual, Out* out, int64_t stride, int64_t num_rows, int64_t num_columns) {
  const uint32_t columns = first_columns(num_columns);
  for (int64_t row = 0; row < num_rows; ++row, tile += kTile, out += stride) {
    const __m512 scale = _mm512_set1_ps(scales.weight / scales.rows[row]);
    const __m512i offset = _mm512_set1_epi32(scales.offsets[row]);
    __m512 low = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(tile), offset)), scale);
    __m512 high = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(tile + 16), offset)), scale);
    if constexpr (has_residual) {
      low = _mm512_add_ps(low, _mm512_maskz_loadu_ps(columns & 0xffff, residual + row * stride));
      high = _mm512_add_ps(high, _mm512_maskz_loadu_ps(columns >> 16, residual + row * stride + 16));
    }
    store(low, high, out, columns);
  }
}

template <bool is_added, typename Out>
void plain(const float* tile, Out* out, int64_t stride, int64_t num_rows, int64_t num_columns) {
  const uint32_t columns = first_columns(num_columns);
  for (int64_t row = 0; row < num_rows; ++row, tile += kTile, out += stride) {
    __m512 low = _mm512_loadu_ps(tile), high = _mm512_loadu_ps(tile + 16);
    if constexpr (is_added) {
      low = _mm512_add_ps(low, _mm512_maskz_loadu_ps(columns & 0xffff, out));
      high = _mm512_add_ps(high, _mm512_maskz_loadu_ps(columns >> 16, out + 16));
    }
    store(low, high, out, columns);
  }
}

}  // namespace

void store_scaled(const int32_t* tile, const Scales& scales, const float* residual, void* out, bool is_bfloat16, int64_t stride,
                  int64_t num_rows, int64_t num_columns) {
  if (residual) {
    scaled<true>(tile, scales, residual, static_cast<float*>(out), stride, num_rows, num_columns);
  } else if (is_bfloat16) {
    scaled<false>(tile, scales, residual, static_cast<uint16_t*>(out), stride, num_rows, num_columns);
  } else {
    scaled<false>(tile, scales, residual, static_cast<float*>(out), stride, num_rows, num_columns);
  }
}

void store_tile(const float* tile, uint16_t* out, int64_t stride, int64_t num_rows, int64_t num_columns) {
  plain<false>(tile, out, stride, num_rows, num_columns);
}
void store_tile(const float* tile, float* out, int64_t stride, int64_t num_rows, int64_t num_columns) {
  plain<false>(tile, out, stride, num_rows, num_columns);
}
void add_tile(const float* tile, float* out, int64_t stride, int64_t num_rows, int64_t num_columns) {
  plain<true>(tile, out, stride, num_rows, num_columns);
}

void transpose_groups(const uint8_t* rows, int64_t depth, uint8_t* out) {
  __m512i block[16];
  for (int64_t start = 0; start < depth; start += kDepthStep) {
    for (int half = 0; half < 2; ++half) {
      for (int row = 0; row < 16; ++row) block[row] = _mm512_loadu_si512(rows + (half * 16 + row) * depth + start);
      transpose(block);
      for (int group = 0; group < 16; ++group) _mm512_storeu_si512(out + (start / 4 + group) * kTile * 4 + half * 64, block[group]);
    }
  }
}

const Processor* avx512() {
  static const Processor machine{"avx512", int8, bfloat16, begin, end};
  static const bool usable = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
  return usable ? &machine : nullptr;
}

}  // namespace matmul
#else
namespace matmul {
const Processor* avx512() { return nullptr; }
void transpose_block(const uint16_t*, int64_t, uint16_t*) {}
void transpose_groups(const uint8_t*, int64_t, uint8_t*) {}
void store_scaled(const int32_t*, const Scales&, const float*, void*, bool, int64_t, int64_t, int64_t) {}
void store_tile(const float*, uint16_t*, int64_t, int64_t, int64_t) {}
void store_tile(const float*, float*, int64_t, int64_t, int64_t) {}
void add_tile(const float*, float*, int64_t, int64_t, int64_t) {}
}  // namespace matmul
#endif
