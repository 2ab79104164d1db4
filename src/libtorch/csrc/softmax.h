// Loops over the rows of an attention head, and over logits; see kernels.h for how they are compiled.
#pragma once
#include "rows.h"

namespace rows {

// Features i and i + size / 2 turn together by the angle whose cosine and sine are given (both halves of a table are alike).
void rotate(const uint16_t* row, const float* cosines, const float* sines, float scale, uint16_t* out, int64_t size);

// The other way round, for gradients.
void rotate_back(const float* row, const float* cosines, const float* sines, float scale, uint16_t* out, int64_t size);

// One row of scores lies in tiles, `tile_size` numbers apart; the first `count` numbers are seen. Each becomes e^(score - largest); the
// rest of the last tile becomes 0. Returns their sum.
float exponentials(float* scores, int64_t tile_size, int64_t count);

// A tile of logits as e^(logit - largest) of each row's first `seen` numbers, 0 behind them, in bfloat16; with that largest and the sum.
void tile_exponentials(float* tile, int64_t num_rows, int64_t seen, float* largest, float* sums, uint16_t* out, int64_t stride);

// row *= factor
void scale(uint16_t* row, float factor, int64_t size);

// A row of tiles times `scale` in bfloat16, one tile after the other.
void narrow_tiles(const float* row, int64_t tile_size, int64_t tiles, float scale, uint16_t* out);

// Rows of probabilities and of their gradients in tiles; the probabilities still lack the factor `scale`. Writes both the finished
// probabilities and the gradients of the scores, p * (g - sum of p * g), in bfloat16.
void score_gradients(const float* probabilities, const float* gradients, int64_t tile_size, int64_t tiles, float scale,
                     uint16_t* probabilities_out, uint16_t* gradients_out);

}  // namespace rows
