// Loops over one row, chosen for the processor at load time. bfloat16 is passed as its bits, uint16_t.
#pragma once
#include "rows.h"

namespace rows {

// max |x|; NaN if any is NaN.
float largest_magnitude(const float* row, int64_t size);
float sum_of_squares(const float* row, int64_t size);
// row *= factor
void scale(float* row, float factor, int64_t size);
double sum_of_magnitudes(const float* row, int64_t size);
void widen(const uint16_t* row, float* out, int64_t size);
void narrow(const float* row, uint16_t* out, int64_t size);

// out = row * inverse * weight
void normalize(const float* row, const float* weight, float inverse, float* out, int64_t size);

// out = clamp(round(row * scale), -128, 127) / scale
void int8_values(const float* row, float scale, float* out, int64_t size);
void int8_values(const float* row, float scale, uint16_t* out, int64_t size);

// out = clamp(round(row / scale), -1, 1) * scale
void ternary_values(const float* row, float scale, float* out, int64_t size);
void ternary_values(const float* row, float scale, uint16_t* out, int64_t size);

// out = clamp(round(row * scale), -128, 127); their sum.
int32_t int8_codes(const float* row, float scale, int8_t* out, int64_t size);

// out = code / scale
void dequantized(const int8_t* codes, float scale, uint16_t* out, int64_t size);
void dequantized(const int8_t* codes, float scale, float* out, int64_t size);

// out = clamp(round(row / scale), -1, 1) + 1
void ternary_codes(const float* row, float scale, uint8_t* out, int64_t size);

// out = code * scale of what ternary_codes made
void ternary_values(const uint8_t* codes, float scale, uint16_t* out, int64_t size);
void ternary_values(const uint8_t* codes, float scale, float* out, int64_t size);

// out[index] = even[index] below odd[index]
void interleave(const uint16_t* even, const uint16_t* odd, uint32_t* out, int64_t size);

// Sum of gradient * weight * row.
float weighted_dot(const float* gradient, const float* weight, const float* row, int64_t size);

// input_gradient = inverse * gradient * weight - slope * row; weight_gradient += gradient * row * inverse
void norm_gradient(const float* gradient, const float* weight, const float* row, float inverse, float slope, float* input_gradient,
                   float* weight_gradient, int64_t size);

// out = relu(gate)^2 * up
void squared_relu_gate(const float* gate, const float* up, float* out, int64_t size);
void squared_relu_gate(const uint16_t* gate, const uint16_t* up, uint16_t* out, int64_t size);
void squared_relu_gate(const uint16_t* gate, const uint16_t* up, float* out, int64_t size);

// The gradients of squared_relu_gate.
void squared_relu_gate_gradient(const float* gradient, const float* gate, const float* up, float* gate_gradient, float* up_gradient,
                                int64_t size);
void squared_relu_gate_gradient(const uint16_t* gradient, const uint16_t* gate, const uint16_t* up, uint16_t* gate_gradient,
                                uint16_t* up_gradient, int64_t size);
void squared_relu_gate_gradient(const float* gradient, const uint16_t* gate, const uint16_t* up, uint16_t* gate_gradient,
                                uint16_t* up_gradient, int64_t size);

}  // namespace rows
