// See softmax.h.
#include "softmax.h"

#include <algorithm>

namespace rows {


VECTORIZED void rotate(const uint16_t* row, const float* cosines, const float* sines, float scale, uint16_t* out, int64_t size) {
  const int64_t half = size / 2;
  for (int64_t index = 0; index < half; ++index) {
    const float first = load(row + index), second = load(row + half + index);
    store((first * cosines[index] - second * sines[index]) * scale, out + index);
    store((second * cosines[index] + first * sines[index]) * scale, out + half + index);
  }
}

VECTORIZED void rotate_back(const float* row, const float* cosines, const float* sines, float scale, uint16_t* out, int64_t size) {
  const int64_t half = size / 2;
  for (int64_t index = 0; index < half; ++index) {
    const float first = row[index] * scale, second = row[half + index] * scale;
    store(first * cosines[index] + second * sines[index], out + index);
    store(second * cosines[index] - first * sines[index], out + half + index);
  }
}

// e^x for x <= 0, to the last bit but one (Cephes, expf); NaN stays NaN.
static inline float exponential(float x) {
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

VECTORIZED float exponentials(float* scores, int64_t tile_size, int64_t count) {
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

VECTORIZED void tile_exponentials(float* tile, int64_t num_rows, int64_t seen, float* largest, float* sums, uint16_t* out, int64_t stride) {
  for (int64_t row = 0; row < num_rows; ++row, tile += kTileRow, out += stride) {
    float most = tile[0], sum = 0;
    for (int64_t index = seen; index < kTileRow; ++index) tile[index] = tile[0];
    for (int64_t index = 0; index < kTileRow; ++index) most = tile[index] > most ? tile[index] : most;
    for (int64_t index = 0; index < kTileRow; ++index) tile[index] = exponential(std::min(tile[index] - most, 0.f));
    for (int64_t index = seen; index < kTileRow; ++index) tile[index] = 0;
    for (int64_t index = 0; index < kTileRow; ++index) {
      sum += tile[index];
      store(tile[index], out + index);
    }
    largest[row] = most;
    sums[row] = sum;
  }
}

VECTORIZED void scale(uint16_t* row, float factor, int64_t size) {
  for (int64_t index = 0; index < size; ++index) store(load(row + index) * factor, row + index);
}

VECTORIZED void narrow_tiles(const float* row, int64_t tile_size, int64_t tiles, float scale, uint16_t* out) {
  for (int64_t tile = 0; tile < tiles; ++tile) {
    for (int64_t index = 0; index < kTileRow; ++index) store(row[tile * tile_size + index] * scale, out + tile * kTileRow + index);
  }
}

VECTORIZED void score_gradients(const float* probabilities, const float* gradients, int64_t tile_size, int64_t tiles, float scale,
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
