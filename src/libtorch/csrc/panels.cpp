// See panels.h.
#include "panels.h"

#include "profile.h"

namespace panels {
namespace {

using matmul::kTile;
using matmul::num_tiles;
using matmul::round_up;

// Two rows of bfloat16, one after the other for each column, into the panels of 32 columns that are `panel_size` pairs apart.
void interleave(const uint16_t* even, const uint16_t* odd, int64_t size, uint32_t* out, int64_t panel_size) {
  for (int64_t start = 0; start < size; start += kTile, out += panel_size) rows::interleave(even + start, odd + start, out, kTile);
}

}  // namespace

Weight pack_weight(const at::Tensor& weight, bool to_bfloat16) {
  BITNET_PROFILED("bitnet::pack_weight");
  require_rows(weight);
  TORCH_CHECK(weight.dim() == 2 && weight.scalar_type() == at::kFloat, "weights are float32 matrices, not ", weight.toString(), " ", weight.sizes());
  const auto source = weight.contiguous();
  const int64_t outputs = source.size(0), inputs = source.size(1), width = round_up(inputs, kTile);
  const int64_t depth = round_up(inputs, matmul::kDepthStep), values_depth = round_up(outputs, kTile) / 2;  // in bytes, in pairs
  const float scale = absmean_scale(source);
  Weight packed;
  packed.scale = at::full({1}, scale, source.options());
  packed.codes = at::empty({num_tiles(outputs) * matmul::panel_bytes(depth)}, source.options().dtype(at::kByte));
  packed.values = to_bfloat16 ? at::empty({width * values_depth * 2}, source.options().dtype(at::kBFloat16)) : at::empty_like(source);
  auto* codes = packed.codes.data_ptr<uint8_t>();
  const auto* numbers = source.const_data_ptr<float>();
  at::parallel_for(0, num_tiles(outputs), 1, [&](int64_t begin, int64_t end) {
    Buffer<uint8_t> tile(kTile * depth);
    Buffer<uint16_t> values(kTile * width);
    for (int64_t panel = begin; panel < end; ++panel) {
      std::fill(tile.begin(), tile.end(), uint8_t{1});
      std::fill(values.begin(), values.end(), uint16_t{0});
      const int64_t first = panel * kTile, count = std::min(kTile, outputs - first);
      for (int64_t row = 0; row < count; ++row) {
        const float* masters = numbers + (first + row) * inputs;
        rows::ternary_codes(masters, scale, tile.data() + row * depth, inputs);
        if (to_bfloat16) {
          rows::ternary_values(tile.data() + row * depth, scale, values.data() + row * width, inputs);
        } else {
          rows::ternary_values(tile.data() + row * depth, scale, packed.values.data_ptr<float>() + (first + row) * inputs, inputs);
        }
      }
      matmul::transpose_groups(tile.data(), depth, codes + panel * matmul::panel_bytes(depth));
      for (int64_t row = 0; to_bfloat16 && row < kTile; row += 2) {
        auto* out = reinterpret_cast<uint32_t*>(bits(packed.values)) + (first + row) / 2 * kTile;
        interleave(values.data() + row * width, values.data() + (row + 1) * width, width, out, values_depth * kTile);
      }
    }
  });
  return packed;
}

at::Tensor padded(const at::Tensor& matrix) {
  const int64_t height = matrix.size(0), width = matrix.size(1);
  const auto source = matrix.to(at::kBFloat16).contiguous();
  if (height % kTile == 0 && width % kTile == 0) return source;
  return at::constant_pad_nd(source, {0, round_up(width, kTile) - width, 0, round_up(height, kTile) - height});
}

Values pack_values(const at::Tensor& matrix) {
  BITNET_PROFILED("bitnet::pack_values");
  const auto source = readable(matrix);
  const int64_t outputs = source.size(0), inputs = source.size(1), height = round_up(outputs, kTile), width = round_up(inputs, kTile);
  const auto options = source.options().dtype(at::kBFloat16);
  Values out{at::empty({height * width}, options), at::empty({height * width}, options)};
  at::parallel_for(0, height / kTile, 1, [&](int64_t begin, int64_t end) {
    Buffer<uint16_t> values(kTile * width, 0);
    std::vector<float> buffer;
    for (int64_t panel = begin; panel < end; ++panel) {
      for (int64_t row = 0; row < kTile; ++row) {
        const int64_t index = panel * kTile + row;
        if (index < outputs) {
          rows::narrow(as_float(source, index, inputs, buffer), values.data() + row * width, inputs);
        } else {
          std::fill_n(values.data() + row * width, width, uint16_t{0});
        }
      }
      const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
      matmul::transpose_groups(bytes, width * 2, reinterpret_cast<uint8_t*>(bits(out.columns) + panel * kTile * width));
      for (int64_t row = 0; row < kTile; row += 2) {
        auto* pairs = reinterpret_cast<uint32_t*>(bits(out.interleaved)) + (panel * kTile + row) / 2 * kTile;
        interleave(values.data() + row * width, values.data() + (row + 1) * width, width, pairs, height / 2 * kTile);
      }
    }
  });
  return out;
}

at::Tensor interleave_bfloat16(const at::Tensor& matrix, int64_t begin, int64_t end) {
  const int64_t width = matrix.size(1), pairs = round_up(end - begin, kTile) / 2;
  auto out = at::empty({width * pairs * 2}, matrix.options());
  at::parallel_for(0, pairs, 64, [&](int64_t first, int64_t last) {
    for (int64_t pair = first; pair < last; ++pair) {
      const auto* even = bits(matrix) + (begin + 2 * pair) * width;
      interleave(even, even + width, width, reinterpret_cast<uint32_t*>(bits(out)) + pair * kTile, pairs * kTile);
    }
  });
  return out;
}

void interleave_rows(const at::Tensor& codes, const at::Tensor& scales, int64_t size, int64_t begin, int64_t end, int64_t first, int64_t last,
                     const at::Tensor& out) {
  const int64_t width = round_up(size, kTile), pairs = round_up(end - begin, kTile) / 2, stride = codes.stride(0);
  Buffer<uint16_t> values(2 * width, 0);
  const auto* numbers = codes.const_data_ptr<int8_t>();
  const auto* factors = scales.const_data_ptr<float>();
  auto* pairs_out = reinterpret_cast<uint32_t*>(bits(out));
  for (int64_t pair = first; pair < last; ++pair) {
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t row = begin + 2 * pair + half;
      uint16_t* place = values.data() + half * width;
      if (row < end) {
        rows::dequantized(numbers + row * stride, factors[row], place, size);
      } else {
        std::fill(place, place + width, uint16_t{0});
      }
    }
    interleave(values.data(), values.data() + width, width, pairs_out + pair * kTile, pairs * kTile);
  }
}

at::Tensor transposed_rows(const at::Tensor& matrix, int64_t begin, int64_t end) {
  BITNET_PROFILED("bitnet::transposed_rows");
  const int64_t width = matrix.size(1), blocks = num_tiles(end - begin);
  auto out = at::empty({width * blocks * kTile}, matrix.options());
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      for (int64_t column = 0; column < width; column += kTile) {
        const uint16_t* source = bits(matrix) + (begin + block * kTile) * width + column;
        matmul::transpose_block(source, width, bits(out) + (column * blocks + block * kTile) * kTile);
      }
    }
  });
  return out;
}

}  // namespace panels
