// See rows.h and kernels.h.
#include "kernels.h"

namespace rows {

// The bit patterns of magnitudes are ordered as the magnitudes are, NaN above all.
VECTORIZED float largest_magnitude(const float* row, int64_t size) {
  int32_t largest = 0;
  for (int64_t index = 0; index < size; ++index) {
    int32_t bits;
    std::memcpy(&bits, row + index, sizeof bits);
    bits &= 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  float result;
  std::memcpy(&result, &largest, sizeof result);
  return result;
}

VECTORIZED float sum_of_squares(const float* row, int64_t size) {
  float sum = 0;
  for (int64_t index = 0; index < size; ++index) sum += row[index] * row[index];
  return sum;
}

VECTORIZED void scale(float* row, float factor, int64_t size) {
  for (int64_t index = 0; index < size; ++index) row[index] *= factor;
}

VECTORIZED double sum_of_magnitudes(const float* row, int64_t size) {
  double sum = 0;
  for (int64_t index = 0; index < size; ++index) sum += std::fabs(row[index]);
  return sum;
}

VECTORIZED void widen(const uint16_t* row, float* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) out[index] = from_bfloat16(row[index]);
}

VECTORIZED void narrow(const float* row, uint16_t* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) store(row[index], out + index);
}

VECTORIZED void normalize(const float* row, const float* weight, float inverse, float* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) out[index] = row[index] * inverse * weight[index];
}

template <typename Out>
static inline void quantized(const float* row, float scale, float low, float high, float divisor, Out* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) {
    float code = row[index] * scale;
    code = code < low ? low : code;
    code = code > high ? high : code;
    store(std::nearbyint(code) / divisor, out + index);
  }
}

VECTORIZED void int8_values(const float* row, float scale, float* out, int64_t size) {
  quantized(row, scale, -128.f, 127.f, scale, out, size);
}
VECTORIZED void int8_values(const float* row, float scale, uint16_t* out, int64_t size) {
  quantized(row, scale, -128.f, 127.f, scale, out, size);
}

template <typename Out>
static inline void ternary(const float* row, float scale, Out* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) {
    float code = row[index] / scale;
    code = code < -1.f ? -1.f : code;
    code = code > 1.f ? 1.f : code;
    store(std::nearbyint(code) * scale, out + index);
  }
}

VECTORIZED void ternary_values(const float* row, float scale, float* out, int64_t size) { ternary(row, scale, out, size); }
VECTORIZED void ternary_values(const float* row, float scale, uint16_t* out, int64_t size) { ternary(row, scale, out, size); }

VECTORIZED float weighted_dot(const float* gradient, const float* weight, const float* row, int64_t size) {
  float sum = 0;
  for (int64_t index = 0; index < size; ++index) sum += gradient[index] * weight[index] * row[index];
  return sum;
}

VECTORIZED void norm_gradient(const float* gradient, const float* weight, const float* row, float inverse, float slope, float* input_gradient,
                              float* weight_gradient, int64_t size) {
  for (int64_t index = 0; index < size; ++index) {
    input_gradient[index] = inverse * gradient[index] * weight[index] - slope * row[index];
    weight_gradient[index] += gradient[index] * row[index] * inverse;
  }
}

template <typename Number, typename Out>
static inline void gated(const Number* gate, const Number* up, Out* out, int64_t size) {
  for (int64_t index = 0; index < size; ++index) {
    float positive = load(gate + index);
    positive = positive < 0.f ? 0.f : positive;  // NaN stays NaN: with > in its place gcc makes it 0
    store(positive * positive * load(up + index), out + index);
  }
}

VECTORIZED void squared_relu_gate(const float* gate, const float* up, float* out, int64_t size) { gated(gate, up, out, size); }
VECTORIZED void squared_relu_gate(const uint16_t* gate, const uint16_t* up, uint16_t* out, int64_t size) { gated(gate, up, out, size); }
VECTORIZED void squared_relu_gate(const uint16_t* gate, const uint16_t* up, float* out, int64_t size) { gated(gate, up, out, size); }

template <typename Arriving, typename Number>
static inline void gated_gradient(const Arriving* gradient, const Number* gate, const Number* up, Number* gate_gradient, Number* up_gradient,
                                  int64_t size) {
  for (int64_t index = 0; index < size; ++index) {
    float positive = load(gate + index);
    positive = positive < 0.f ? 0.f : positive;  // NaN stays NaN: with > in its place gcc makes it 0
    float arriving = load(gradient + index);
    store(2.f * arriving * positive * load(up + index), gate_gradient + index);
    store(arriving * positive * positive, up_gradient + index);
  }
}

VECTORIZED void squared_relu_gate_gradient(const float* gradient, const float* gate, const float* up, float* gate_gradient, float* up_gradient,
                                           int64_t size) {
  gated_gradient(gradient, gate, up, gate_gradient, up_gradient, size);
}
VECTORIZED void squared_relu_gate_gradient(const uint16_t* gradient, const uint16_t* gate, const uint16_t* up, uint16_t* gate_gradient,
                                           uint16_t* up_gradient, int64_t size) {
  gated_gradient(gradient, gate, up, gate_gradient, up_gradient, size);
}
VECTORIZED void squared_relu_gate_gradient(const float* gradient, const uint16_t* gate, const uint16_t* up, uint16_t* gate_gradient,
                                           uint16_t* up_gradient, int64_t size) {
  gated_gradient(gradient, gate, up, gate_gradient, up_gradient, size);
}

}  // namespace rows
