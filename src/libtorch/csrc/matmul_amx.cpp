// Tiles with AMX: four accumulators of 16 x 16, two tiles from the left, two from the right.
#include "matmul.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#pragma GCC target("amx-tile,amx-int8,amx-bf16")

namespace matmul {
namespace {

constexpr int kHalf = 16;                  // rows of a hardware tile
constexpr int kPanelRow = kTile * 4;       // bytes of a panel's row: one group of four bytes for each column
constexpr int kPanelStep = kHalf * kPanelRow;

struct __attribute__((packed)) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// libtorch's own kernels find the configuration that they left.
void begin(void* state) {
  _tile_storeconfig(state);
  static const TileConfig config;  // in memory: the instruction reads all of it, the compiler believes 8 bytes
  _tile_loadconfig(&config);
}

void end(const void* state) {
  if (*static_cast<const uint8_t*>(state) == 0) {
    _tile_release();
  } else {
    _tile_loadconfig(state);
  }
}

#define BITNET_ACCUMULATE(multiply)                                                     \
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);                           \
  for (int64_t index = 0; index < count; ++index) {                                     \
    const Part& part = parts[index];                                                    \
    const uint8_t *left = part.left, *panel = part.panel;                               \
    for (int64_t depth = 0; depth < part.depth; depth += kDepthStep) {                  \
      _tile_loadd(4, left, part.stride);                                                \
      _tile_loadd(6, panel, kPanelRow);                                                 \
      _tile_loadd(7, panel + kPanelRow / 2, kPanelRow);                                 \
      _tile_loadd(5, left + kHalf * part.stride, part.stride);                          \
      multiply(0, 4, 6); multiply(1, 4, 7); multiply(2, 5, 6); multiply(3, 5, 7);       \
      left += part.step, panel += kPanelStep;                                           \
    }                                                                                   \
  }                                                                                     \
  _tile_stored(0, tile, kTile * 4);                                                     \
  _tile_stored(1, tile + kHalf, kTile * 4);                                             \
  _tile_stored(2, tile + kHalf * kTile, kTile * 4);                                     \
  _tile_stored(3, tile + kHalf * kTile + kHalf, kTile * 4)

void int8(const Part* parts, int64_t count, int32_t* tile) { BITNET_ACCUMULATE(_tile_dpbsud); }

void bfloat16(const Part* parts, int64_t count, float* tile) { BITNET_ACCUMULATE(_tile_dpbf16ps); }

// CPUID leaf 7: bits of EDX.
constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;

bool is_usable() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned eax, ebx, ecx, edx;
  const unsigned wanted = kAmxBf16 | kAmxTile | kAmxInt8;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (edx & wanted) != wanted) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

const Processor* amx() {
  static const Processor machine{"amx", int8, bfloat16, begin, end};
  static const bool usable = is_usable();
  return usable && avx512() ? &machine : nullptr;
}

}  // namespace matmul
#else
namespace matmul {
const Processor* amx() { return nullptr; }
}  // namespace matmul
#endif
