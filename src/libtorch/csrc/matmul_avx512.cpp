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
}  // namespace matmul
#endif
