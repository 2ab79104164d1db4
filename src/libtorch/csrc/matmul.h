// Matrix products in tiles of 32 x 32 outputs, on processors with AMX or with AVX-512's dot products (VNNI and BF16). Elsewhere
// is_supported() is false and nothing else here may be called.
//
// Both operands are read along the depth in groups of four bytes, four int8 or two bfloat16. Depths are multiples of 64 bytes, filled up
// with zeros. The left operand is rows; the right one is panels of 32 columns, [depth / 4][32 columns][4 bytes].
#pragma once
#include <ATen/Parallel.h>

#include <cstdint>
#include <cstring>

namespace matmul {

constexpr int64_t kTile = 32;
constexpr int64_t kDepthStep = 64;

inline int64_t round_up(int64_t number, int64_t multiple) { return (number + multiple - 1) / multiple * multiple; }
inline int64_t num_tiles(int64_t size) { return (size + kTile - 1) / kTile; }
inline int64_t panel_bytes(int64_t depth) { return depth * kTile; }

// One term of a sum of products. `left` is the first of 32 rows, `stride` bytes apart; `step` bytes further lie the next 64 of the depth.
struct Part {
  const uint8_t* left;
  int64_t stride;
  int64_t step;
  const uint8_t* panel;
  int64_t depth;
};

// Rows of a plain matrix.
inline Part rows_part(const void* left, int64_t stride, const void* panel, int64_t depth) {
  return {static_cast<const uint8_t*>(left), stride, kDepthStep, static_cast<const uint8_t*>(panel), depth};
}

// What a processor can do; a kernel writes the tile [32][32] of the sum of `count` parts.
struct Processor {
  const char* name;
  // int8 from the left times uint8 from the right, int32 out
  void (*int8)(const Part* parts, int64_t count, int32_t* tile);
  void (*bfloat16)(const Part* parts, int64_t count, float* tile);
  // Around kernels, on the thread that calls them; `state` has 64 bytes.
  void (*begin)(void* state);
  void (*end)(const void* state);
};

// The best of this machine, or null. BITNET_MATMUL=avx512 or =none in the environment asks for less.
const Processor* processor();
inline bool is_supported() { return processor() != nullptr; }

// Those of the two instruction sets, or null.
const Processor* amx();
const Processor* avx512();

// pairs[column * 16 + pair] = (left[2 * pair][column], left[2 * pair + 1][column]) for 32 rows of `left`, `stride` numbers apart, and 32
// columns: the 32 x 32 block, transposed.
void transpose_block(const uint16_t* left, int64_t stride, uint16_t* out);

// 32 rows of groups of four bytes, [32][depth], to [depth / 4][32] groups; the depth is a multiple of 64.
void transpose_groups(const uint8_t* rows, int64_t depth, uint8_t* out);

// The factors of an integer product: (sum - offsets[row]) * weight / rows[row].
struct Scales {
  const float* rows;
  const int32_t* offsets;
  float weight;
};

// The first `num_rows` x `num_columns` of a tile [32][32], scaled, to rows of `out` that are `stride` numbers apart: bfloat16 or float32; or
// float32 and added to rows of `residual`, which are as far apart.
void store_scaled(const int32_t* tile, const Scales& scales, const float* residual, void* out, bool is_bfloat16, int64_t stride,
                  int64_t num_rows, int64_t num_columns);

// The same of a tile as it is; add_tile adds to what is there.
void store_tile(const float* tile, uint16_t* out, int64_t stride, int64_t num_rows, int64_t num_columns);
void store_tile(const float* tile, float* out, int64_t stride, int64_t num_rows, int64_t num_columns);
void add_tile(const float* tile, float* out, int64_t stride, int64_t num_rows, int64_t num_columns);

// The tiles of one product: calls `parts_of(row, panel, parts)`, which fills in at most 8 parts and returns their number, and then
// `store(row, num_rows, panel, tile)`. `Number` is int32_t or float.
template <typename Number, typename PartsOf, typename Store>
class Tiles {
 public:
  Tiles(int64_t num_rows, PartsOf& parts_of, Store& store) : num_rows_(num_rows), parts_of_(parts_of), store_(store) {}

  // The tile of strip `strip`, 32 rows, and panel `panel`.
  void make(int64_t strip, int64_t panel) {
    Part parts[8];
    const int64_t row = strip * kTile, count = parts_of_(row, panel, parts);
    if constexpr (std::is_same_v<Number, float>) {
      machine_.bfloat16(parts, count, tile_);
    } else {
      machine_.int8(parts, count, tile_);
    }
    store_(row, std::min(kTile, num_rows_ - row), panel, tile_);
  }

  // Those of some strips and of every `stride`th panel from `panel` on. Where all panels, `right_bytes`, fit into the second cache, they
  // pass by 32 rows that stay in the first; else a panel passes by more rows.
  void make_all(int64_t first, int64_t last, int64_t panel, int64_t num_panels, int64_t stride, int64_t right_bytes) {
    constexpr int64_t kSecondCache = 1 << 20;
    if (right_bytes <= kSecondCache) {
      for (int64_t strip = first; strip < last; ++strip) {
        for (int64_t next = panel; next < num_panels; next += stride) make(strip, next);
      }
    } else {
      for (int64_t next = panel; next < num_panels; next += stride) {
        for (int64_t strip = first; strip < last; ++strip) make(strip, next);
      }
    }
  }

 private:
  const Processor& machine_ = *processor();
  int64_t num_rows_;
  PartsOf& parts_of_;
  Store& store_;
  alignas(64) Number tile_[kTile * kTile];
};

// Strips that pass through the caches together.
constexpr int64_t kStrips = 4;

// Calls `body(first, last)` for blocks of at most kStrips strips that cover all rows, on all threads, each of which gets as many strips as
// the others, with the processor ready for kernels.
template <typename Body>
void for_each_block(int64_t num_rows, Body body) {
  const int64_t strips = num_tiles(num_rows), threads = std::min<int64_t>(strips, at::get_num_threads());
  if (strips == 0) return;
  const int64_t each = (strips + threads * kStrips - 1) / (threads * kStrips), blocks = std::min(strips, each * threads);
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    alignas(64) uint8_t state[64];
    processor()->begin(state);
    for (int64_t block = begin; block < end; ++block) body(block * strips / blocks, (block + 1) * strips / blocks);
    processor()->end(state);
  });
}

// All tiles of one product, on all threads. A tile is computed by one thread, in one order.
template <typename Number, typename PartsOf, typename Store>
void for_each_tile(int64_t num_rows, int64_t num_panels, int64_t right_bytes, PartsOf parts_of, Store store) {
  const int64_t strips = num_tiles(num_rows), blocks = (strips + kStrips - 1) / kStrips;
  const int64_t groups = blocks >= 4 * at::get_num_threads() ? 1 : num_panels;
  at::parallel_for(0, blocks * groups, 1, [&](int64_t begin, int64_t end) {
    alignas(64) uint8_t state[64];
    Tiles<Number, PartsOf, Store> tiles(num_rows, parts_of, store);
    processor()->begin(state);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item / groups * kStrips;
      tiles.make_all(first, std::min(strips, first + kStrips), item % groups, num_panels, groups, right_bytes);
    }
    processor()->end(state);
  });
}

}  // namespace matmul
