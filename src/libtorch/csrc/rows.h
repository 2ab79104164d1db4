// Loops over one row of float32, written so that the compiler vectorizes them; on x86-64 the best instruction set is chosen at load
// time. The maths is that of src/core/ternary, line for line.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORIZED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORIZED
#endif

namespace rows {

// The nearest bfloat16, ties to even; NaN stays NaN.
inline uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

inline float from_bfloat16(uint16_t value) {
  uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

inline void store(float value, float* place) { *place = value; }
inline void store(float value, uint16_t* place) { *place = to_bfloat16(value); }
inline float load(const float* place) { return *place; }
inline float load(const uint16_t* place) { return from_bfloat16(*place); }

}  // namespace rows
