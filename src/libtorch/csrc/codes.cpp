// The loops of kernels.h that make codes, and operands of matmul.h from them.
#include "kernels.h"

namespace rows {

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

// A quotient rounds to 1 where it is above one half, and the nearest float of row / scale is so just where row is above scale / 2.
VECTORIZED void ternary_codes(const float* row, float scale, uint8_t* out, int64_t size) {
  const float half = 0.5f * scale;
  for (int64_t index = 0; index < size; ++index) {
    out[index] = static_cast<uint8_t>(1 + static_cast<int32_t>(row[index] > half) - static_cast<int32_t>(row[index] < -half));
  }
}

VECTORIZED void ternary_values(const uint8_t* codes, float scale, uint16_t* out, int64_t size) {
  const uint32_t magnitude = to_bfloat16(scale);
  for (int64_t index = 0; index < size; ++index) {
    const uint32_t code = codes[index];
    out[index] = static_cast<uint16_t>(code == 1 ? 0u : code == 0 ? magnitude | 0x8000u : magnitude);
  }
}
VECTORIZED void ternary_values(const uint8_t* codes, float scale, float* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) out[index] = static_cast<float>(static_cast<int32_t>(codes[index]) - 1) * scale;
}

VECTORIZED void interleave(const uint16_t* even, const uint16_t* odd, uint32_t* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) out[index] = even[index] | static_cast<uint32_t>(odd[index]) << 16;
}

}  // namespace rows
