// Causal attention with rotary positions as one differentiable operation: each head's rows are turned, multiplied in tiles, and forgotten
// while they are in the cache. In bfloat16, on processors that matmul.h supports.
#include "autograd.h"
#include "panels.h"
#include "softmax.h"

namespace {

using matmul::kTile;
using matmul::Part;

constexpr int64_t kTileNumbers = kTile * kTile;

// Sizes of one call; `height` and `width` are those of a head's matrix, filled up to whole tiles.
struct Shape {
  int64_t batch, sequence, heads, shared_heads, size;
  int64_t height, width;
  float scale;

  int64_t group() const { return heads / shared_heads; }
  int64_t tiles() const { return height / kTile; }
  int64_t panels() const { return width / kTile; }
};

Shape shape_of(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& cosines, int64_t size) {
  for (const auto& tensor : {query, key, value}) {
    TORCH_CHECK(tensor.device().is_cpu() && tensor.scalar_type() == at::kBFloat16 && tensor.dim() == 3, "attention in tiles takes bfloat16 on the CPU, ",
                "[batch, sequence, heads * size], not ", tensor.toString(), " ", tensor.sizes());
  }
  const int64_t sequence = query.size(1);
  TORCH_CHECK(size > 0 && size % 2 == 0 && query.size(2) % size == 0 && key.size(2) % size == 0 && key.size(2) > 0 && key.sizes() == value.sizes() &&
                  key.size(0) == query.size(0) && key.size(1) == sequence && query.size(2) % key.size(2) == 0,
              "heads of ", size, " features do not fit a query of ", query.sizes(), " and keys of ", key.sizes());
  TORCH_CHECK(cosines.dim() == 2 && cosines.size(0) >= sequence && cosines.size(1) == size, "tables of the shape ", cosines.sizes(),
              " do not fit ", sequence, " positions of ", size, " features");
  return {query.size(0), sequence, query.size(2) / size, key.size(2) / size, size, matmul::round_up(sequence, kTile),
          matmul::round_up(size, kTile), 1.f / std::sqrt(static_cast<float>(size))};
}

struct Tables {
  const float *cosines, *sines;
};

// One head's matrix [height, width] in bfloat16, and its layouts as an operand.
struct Matrix {
  Buffer<uint16_t> rows;
  Buffer<uint8_t> columns;     // as right operand whose columns are these rows: panels of 32 rows, depth width
  Buffer<uint32_t> interleaved;  // as right operand with these columns: panels of 32 columns, depth height

  explicit Matrix(const Shape& shape) : rows(shape.height * shape.width, 0) {}

  // Head `head` of `source`, [sequence, heads * size] of one batch row, turned where there are tables.
  void read(const Shape& shape, const uint16_t* source, int64_t stride, const Tables* tables, float scale) {
    for (int64_t row = 0; row < shape.sequence; ++row) {
      uint16_t* place = rows.data() + row * shape.width;
      if (tables) {
        rows::rotate(source + row * stride, tables->cosines + row * shape.size, tables->sines + row * shape.size, scale, place, shape.size);
      } else {
        std::memcpy(place, source + row * stride, shape.size * sizeof(uint16_t));
      }
    }
  }

  void make_columns(const Shape& shape) {
    const int64_t depth = shape.width * 2;
    columns.resize(shape.height * depth);
    for (int64_t row = 0; row < shape.height; row += kTile) {
      matmul::transpose_groups(reinterpret_cast<const uint8_t*>(rows.data() + row * shape.width), depth, columns.data() + row * depth);
    }
  }

  void make_interleaved(const Shape& shape) {
    interleaved.resize(shape.height / 2 * shape.width);
    for (int64_t pair = 0; pair < shape.height / 2; ++pair) {
      const uint16_t* even = rows.data() + 2 * pair * shape.width;
      for (int64_t panel = 0; panel < shape.panels(); ++panel) {
        uint32_t* out = interleaved.data() + (panel * shape.height / 2 + pair) * kTile;
        rows::interleave(even + panel * kTile, even + shape.width + panel * kTile, out, kTile);
      }
    }
  }

  // Depth from row `first` on.
  const uint32_t* panel(const Shape& shape, int64_t index, int64_t first) const {
    return interleaved.data() + (index * shape.height + first) / 2 * kTile;
  }
};

// tiles[j] = rows of strip `strip` of `left` times rows of tile j of `right`, for all tiles up to the diagonal.
void row_products(const Shape& shape, const Matrix& left, const Matrix& right, int64_t strip, float* tiles) {
  const int64_t depth = shape.width * 2;
  for (int64_t tile = 0; tile <= strip; ++tile) {
    const Part part = matmul::rows_part(left.rows.data() + strip * kTile * shape.width, depth, right.columns.data() + tile * kTile * depth, depth);
    matmul::processor()->bfloat16(&part, 1, tiles + tile * kTileNumbers);
  }
}

// out += the transpose of `weights` [height, height] below the diagonal, times `right`: rows of tile `tile`.
void add_transposed_product(const Shape& shape, const Buffer<uint16_t>& weights, const Matrix& right, int64_t tile,
                            Buffer<uint16_t>& transposed, float* out) {
  const int64_t count = shape.tiles() - tile;
  transposed.resize(shape.height * kTile);
  for (int64_t index = 0; index < count; ++index) {
    const uint16_t* block = weights.data() + (tile + index) * kTile * shape.height + tile * kTile;
    matmul::transpose_block(block, shape.height, transposed.data() + index * kTileNumbers);
  }
  alignas(64) float product[kTileNumbers];
  for (int64_t panel = 0; panel < shape.panels(); ++panel) {
    const auto* left = reinterpret_cast<const uint8_t*>(transposed.data());
    const auto* operand = reinterpret_cast<const uint8_t*>(right.panel(shape, panel, tile * kTile));
    const Part part{left, matmul::kDepthStep, kTileNumbers * 2, operand, count * matmul::kDepthStep};
    matmul::processor()->bfloat16(&part, 1, product);
    matmul::add_tile(product, out + tile * kTile * shape.width + panel * kTile, shape.width, kTile, kTile);
  }
}

// Calls `body` for each head of keys and values, with AMX ready.
template <typename Body>
void for_each_shared_head(const Shape& shape, Body body) {
  at::parallel_for(0, shape.batch * shape.shared_heads, 1, [&](int64_t begin, int64_t end) {
    alignas(64) uint8_t state[64];
    matmul::processor()->begin(state);
    body(begin, end);
    matmul::processor()->end(state);
  });
}

void attend(const Shape& shape, const Tables& tables, const uint16_t* query, const uint16_t* key, const uint16_t* value, uint16_t* out) {
  const int64_t stride = shape.heads * shape.size, shared_stride = shape.shared_heads * shape.size;
  for_each_shared_head(shape, [&](int64_t begin, int64_t end) {
    Matrix q(shape), k(shape), v(shape);
    Buffer<float> scores(shape.tiles() * kTileNumbers);
    Buffer<uint16_t> weights(kTile * shape.height);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t batch = item / shape.shared_heads, shared = item % shape.shared_heads;
      const int64_t shared_start = batch * shape.sequence * shared_stride + shared * shape.size;
      k.read(shape, key + shared_start, shared_stride, &tables, 1.f);
      v.read(shape, value + shared_start, shared_stride, nullptr, 1.f);
      k.make_columns(shape);
      v.make_interleaved(shape);
      for (int64_t head = shared * shape.group(); head < (shared + 1) * shape.group(); ++head) {
        const int64_t start = batch * shape.sequence * stride + head * shape.size;
        q.read(shape, query + start, stride, &tables, shape.scale);
        for (int64_t strip = 0; strip < shape.tiles(); ++strip) {
          row_products(shape, q, k, strip, scores.data());
          const int64_t count = std::min(kTile, shape.sequence - strip * kTile);
          for (int64_t row = 0; row < count; ++row) {
            float* row_scores = scores.data() + row * kTile;
            const float sum = rows::exponentials(row_scores, kTileNumbers, strip * kTile + row + 1);
            rows::narrow_tiles(row_scores, kTileNumbers, strip + 1, 1.f / sum, weights.data() + row * shape.height);
          }
          alignas(64) float mixed[kTileNumbers];
          for (int64_t panel = 0; panel < shape.panels(); ++panel) {
            const Part part = matmul::rows_part(weights.data(), shape.height * 2, v.panel(shape, panel, 0), (strip + 1) * matmul::kDepthStep);
            matmul::processor()->bfloat16(&part, 1, mixed);
            const int64_t width = std::min(kTile, shape.size - panel * kTile);
            matmul::store_tile(mixed, out + start + strip * kTile * stride + panel * kTile, stride, count, width);
          }
        }
      }
    }
  });
}

// A head's part of the backward pass; `key_gradient` and `value_gradient`, [height, width], are added to.
struct Backward {
  Matrix q, k, v, arriving;
  Buffer<float> scores, gradients, query_gradient, key_gradient, value_gradient;
  Buffer<uint16_t> weights, score_gradients, transposed;

  explicit Backward(const Shape& shape)
      : q(shape), k(shape), v(shape), arriving(shape), scores(shape.tiles() * kTileNumbers), gradients(scores.size()),
        query_gradient(kTile * shape.width), key_gradient(shape.height * shape.width), value_gradient(key_gradient.size()),
        weights(shape.height * shape.height), score_gradients(weights.size()) {}

  void head(const Shape& shape, const Tables& tables, uint16_t* out, int64_t stride) {
    for (int64_t strip = 0; strip < shape.tiles(); ++strip) {
      row_products(shape, q, k, strip, scores.data());
      row_products(shape, arriving, v, strip, gradients.data());
      for (int64_t row = 0; row < std::min(kTile, shape.sequence - strip * kTile); ++row) {
        const int64_t start = row * kTile, place = (strip * kTile + row) * shape.height;
        const float sum = rows::exponentials(scores.data() + start, kTileNumbers, strip * kTile + row + 1);
        rows::score_gradients(scores.data() + start, gradients.data() + start, kTileNumbers, strip + 1, 1.f / sum, weights.data() + place,
                              score_gradients.data() + place);
      }
      query_rows(shape, tables, strip, out, stride);
    }
    for (int64_t tile = 0; tile < shape.tiles(); ++tile) {
      add_transposed_product(shape, score_gradients, q, tile, transposed, key_gradient.data());
      add_transposed_product(shape, weights, arriving, tile, transposed, value_gradient.data());
    }
  }

  void query_rows(const Shape& shape, const Tables& tables, int64_t strip, uint16_t* out, int64_t stride) {
    alignas(64) float product[kTileNumbers];
    for (int64_t panel = 0; panel < shape.panels(); ++panel) {
      const uint16_t* left = score_gradients.data() + strip * kTile * shape.height;
      const Part part = matmul::rows_part(left, shape.height * 2, k.panel(shape, panel, 0), (strip + 1) * matmul::kDepthStep);
      matmul::processor()->bfloat16(&part, 1, product);
      matmul::store_tile(product, query_gradient.data() + panel * kTile, shape.width, kTile, kTile);
    }
    for (int64_t row = strip * kTile; row < std::min(shape.sequence, (strip + 1) * kTile); ++row) {
      const float* gradient = query_gradient.data() + (row - strip * kTile) * shape.width;
      rows::rotate_back(gradient, tables.cosines + row * shape.size, tables.sines + row * shape.size, shape.scale, out + row * stride, shape.size);
    }
  }
};

void attend_backward(const Shape& shape, const Tables& tables, const uint16_t* query, const uint16_t* key, const uint16_t* value,
                     const uint16_t* arriving, uint16_t* query_out, uint16_t* key_out, uint16_t* value_out) {
  const int64_t stride = shape.heads * shape.size, shared_stride = shape.shared_heads * shape.size;
  for_each_shared_head(shape, [&](int64_t begin, int64_t end) {
    Backward pass(shape);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t batch = item / shape.shared_heads, shared = item % shape.shared_heads;
      const int64_t shared_start = batch * shape.sequence * shared_stride + shared * shape.size;
      pass.k.read(shape, key + shared_start, shared_stride, &tables, 1.f);
      pass.v.read(shape, value + shared_start, shared_stride, nullptr, 1.f);
      pass.k.make_columns(shape);
      pass.v.make_columns(shape);
      pass.k.make_interleaved(shape);
      std::fill(pass.key_gradient.begin(), pass.key_gradient.end(), 0.f);
      std::fill(pass.value_gradient.begin(), pass.value_gradient.end(), 0.f);
      for (int64_t head = shared * shape.group(); head < (shared + 1) * shape.group(); ++head) {
        const int64_t start = batch * shape.sequence * stride + head * shape.size;
        pass.q.read(shape, query + start, stride, &tables, shape.scale);
        pass.arriving.read(shape, arriving + start, stride, nullptr, 1.f);
        pass.q.make_interleaved(shape);
        pass.arriving.make_interleaved(shape);
        pass.head(shape, tables, query_out + start, stride);
      }
      for (int64_t row = 0; row < shape.sequence; ++row) {
        const int64_t place = shared_start + row * shared_stride, table = row * shape.size;
        rows::rotate_back(pass.key_gradient.data() + row * shape.width, tables.cosines + table, tables.sines + table, 1.f, key_out + place,
                          shape.size);
        rows::narrow(pass.value_gradient.data() + row * shape.width, value_out + place, shape.size);
      }
    }
  });
}

struct CausalAttention : Function<CausalAttention> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const at::Tensor& cosines, const at::Tensor& sines, int64_t size) {
    BITNET_PROFILED("bitnet::causal_attention");
    const auto shape = shape_of(query, key, value, cosines, size);
    const auto q = query.contiguous(), k = key.contiguous(), v = value.contiguous();
    auto out = at::empty_like(q);
    attend(shape, {cosines.const_data_ptr<float>(), sines.const_data_ptr<float>()}, bits(q), bits(k), bits(v), bits(out));
    context->save_for_backward({q, k, v, cosines, sines});
    context->saved_data["size"] = size;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    BITNET_PROFILED("bitnet::causal_attention_backward");
    const auto saved = context->get_saved_variables();
    const auto shape = shape_of(saved[0], saved[1], saved[2], saved[3], context->saved_data["size"].toInt());
    const auto arriving = gradients[0].to(at::kBFloat16).contiguous();
    auto query = at::empty_like(saved[0]), key = at::empty_like(saved[1]), value = at::empty_like(saved[2]);
    attend_backward(shape, {saved[3].const_data_ptr<float>(), saved[4].const_data_ptr<float>()}, bits(saved[0]), bits(saved[1]), bits(saved[2]),
                    bits(arriving), bits(query), bits(key), bits(value));
    return {query, key, value, Variable(), Variable(), Variable()};
  }
};

}  // namespace

extern "C" {

// softmax(rotate(query) rotate(key)^T / sqrt(size), causal) value for each head of `size` features; all bfloat16
// [batch, sequence, heads * size], tables float32 [positions, size].
char* bitnet_causal_attention(const at::Tensor* query, const at::Tensor* key, const at::Tensor* value, const at::Tensor* cosines,
                              const at::Tensor* sines, int64_t size, at::Tensor** out) {
  return guarded([&] {
    TORCH_CHECK(matmul::is_supported(), "this processor has no kernel for attention in tiles");
    *out = new at::Tensor(CausalAttention::apply(*query, *key, *value, *cosines, *sines, size));
  });
}

}  // extern "C"
