// Loops over the rows of one attention head; see kernels.h for how they are compiled.
#pragma once
#include <algorithm>

#include "rows.h"

namespace rows {

// Features i and i + size / 2 turn together by the angle whose cosine and sine are given (both halves of a table are alike).
VECTORIZED static void rotate(const uint16_t* row, const float* cosines, const float* sines, float scale, uint16_t* out, int64_t size) {
  const int64_t half = size / 2;
  for (int64_t index = 0; index < half; ++index) {
    const float first = load(row + index), second = load(row + half + index);
    store((first * cosines[index] - second * sines[index]) * scale, out + index);
    store((second * cosines[index] + first * sines[index]) * scale, out + half + index);
  }
}

// The other way round, for gradients.
VECTORIZED static void rotate_back(const float* row, const float* cosines, const float* sines, float scale, uint16_t* out, int64_t size) {
  const int64_t half = size / 2;
  for (int64_t index = 0; index < half; ++index) {
    const float first = row[index] * scale, second = row[half + index] * scale;
    store(first * cosines[index] + second * sines[index], out + index);
    store(second * cosines[index] - first * sines[index], out + half + index);
  }
}

// e^x for x <= 0, to the last bit but one (Cephes, expf); NaN stays NaN.
inline float exponential(float x) {
  x = x < -87.f ? -87.f : x;
  const float whole = std::nearbyint(x * 1.44269504f);
  const float rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  float sum = 1.9875691500e-4f;
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * rest * rest + rest + 1.f;
  const int32_t bits = (static_cast<int32_t>(whole) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return sum * power;
}

constexpr int64_t kTileRow = 32;  // numbers of a row of a tile

// One row of scores lies in tiles, `tile_size` numbers apart; the first `count` numbers are seen. Each becomes e^(score - largest); the
// rest of the last tile becomes 0. Returns their sum.
VECTORIZED static float exponentials(float* scores, int64_t tile_size, int64_t count) {
  const int64_t tiles = (count + kTileRow - 1) / kTileRow, last = count - (tiles - 1) * kTileRow;
  float largest = scores[0];
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const float* row = scores + tile * tile_size;
    const int64_t seen = tile + 1 < tiles ? kTileRow : last;
    for (int64_t index = 0; index < seen; ++index) largest = row[index] > largest ? row[index] : largest;
  }
  float sum = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    float* row = scores + tile * tile_size;
    const int64_t seen = tile + 1 < tiles ? kTileRow : last;
    for (int64_t index = 0; index < kTileRow; ++index) row[index] = exponential(std::min(row[index] - largest, 0.f));
    for (int64_t index = seen; index < kTileRow; ++index) row[index] = 0;
    for (int64_t index = 0; index < kTileRow; ++index) sum += row[index];
  }
  return sum;
}

// A row of tiles times `scale` in bfloat16, one tile after the other.
VECTORIZED static void narrow_tiles(const float* row, int64_t tile_size, int64_t tiles, float scale, uint16_t* out) {
  for (int64_t tile = 0; tile < tiles; ++tile) {
    for (int64_t index = 0; index < kTileRow; ++index) store(row[tile * tile_size + index] * scale, out + tile * kTileRow + index);
  }
}

// Rows of probabilities and of their gradients in tiles; the probabilities still lack the factor `scale`. Writes both the finished
// probabilities and the gradients of the scores, p * (g - sum of p * g), in bfloat16.
VECTORIZED static void score_gradients(const float* probabilities, const float* gradients, int64_t tile_size, int64_t tiles, float scale,
                                       uint16_t* probabilities_out, uint16_t* gradients_out) {
  float sum = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const float *p = probabilities + tile * tile_size, *g = gradients + tile * tile_size;
    for (int64_t index = 0; index < kTileRow; ++index) sum += p[index] * g[index];
  }
  sum *= scale;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const float *p = probabilities + tile * tile_size, *g = gradients + tile * tile_size;
    for (int64_t index = 0; index < kTileRow; ++index) {
      const float probability = p[index] * scale;
      store(probability, probabilities_out + tile * kTileRow + index);
      store(probability * (g[index] - sum), gradients_out + tile * kTileRow + index);
    }
  }
}

}  // namespace rows
