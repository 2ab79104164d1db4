// The head and the cross-entropy behind it as one differentiable operation, in blocks of rows: the logits of a large vocabulary never
// exist as a whole. Gradients are computed beside the loss. In bfloat16, on processors that matmul.h supports.
#include "autograd.h"
#include "panels.h"
#include "softmax.h"

namespace {

using matmul::kTile;

// Logits that exist at once, and how much of the vocabulary is one stretch of a product's depth: operands that stay in the cache.
constexpr int64_t kMostLogits = int64_t{1} << 25, kDepthAtOnce = 512;

// Logits of some rows as e^(logit - largest of its tile), which is what both the loss and its gradient need.
struct Block {
  int64_t begin, end, vocabulary;
  at::Tensor exponentials;       // bfloat16 [height, width], the sizes filled up to whole tiles; later the gradient of the logits
  at::Tensor largest, sums;      // float32 [width / 32, height]: of a row's part in each tile
  std::vector<float> targets;    // logits of the targets

  Block(int64_t begin, int64_t end, int64_t vocabulary, const at::TensorOptions& options)
      : begin(begin), end(end), vocabulary(vocabulary),
        exponentials(at::empty({matmul::round_up(end - begin, kTile), matmul::round_up(vocabulary, kTile)}, options.dtype(at::kBFloat16))),
        largest(at::empty({width() / kTile, height()}, options)), sums(at::empty_like(largest)), targets(end - begin) {}

  int64_t height() const { return exponentials.size(0); }
  int64_t width() const { return exponentials.size(1); }
};

void fill(Block& block, const at::Tensor& hidden, const at::Tensor& columns, const int64_t* targets) {
  BITNET_PROFILED("bitnet::logits");
  const int64_t depth = hidden.size(1) * 2, rows = block.end - block.begin;
  const auto* left = reinterpret_cast<const uint8_t*>(bits(hidden)) + block.begin * depth;
  auto parts_of = [&](int64_t row, int64_t panel, matmul::Part* parts) {
    parts[0] = matmul::rows_part(left + row * depth, depth, reinterpret_cast<const uint8_t*>(bits(columns)) + panel * matmul::panel_bytes(depth), depth);
    return 1;
  };
  matmul::for_each_tile<float>(rows, block.width() / kTile, columns.numel() * 2, parts_of, [&](int64_t row, int64_t count, int64_t panel, float* tile) {
    const int64_t first = panel * kTile, seen = std::min(kTile, block.vocabulary - first), place = panel * block.height() + row;
    for (int64_t index = 0; index < count; ++index) {
      const int64_t target = targets[block.begin + row + index] - first;
      if (target >= 0 && target < seen) block.targets[row + index] = tile[index * kTile + target];
    }
    rows::tile_exponentials(tile, count, seen, block.largest.data_ptr<float>() + place, block.sums.data_ptr<float>() + place,
                            bits(block.exponentials) + row * block.width() + first, block.width());
  });
  std::memset(bits(block.exponentials) + rows * block.width(), 0, (block.height() - rows) * block.width() * sizeof(uint16_t));
}

// The sum of the losses; turns the exponentials into the gradient of `share` times this sum.
double losses(Block& block, const int64_t* targets, int64_t ignored, float share) {
  BITNET_PROFILED("bitnet::softmax");
  const int64_t tiles = block.width() / kTile;
  std::vector<double> losses(block.end - block.begin, 0.0);
  at::parallel_for(0, losses.size(), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scales(tiles);
    for (int64_t row = begin; row < end; ++row) {
      auto* gradient = bits(block.exponentials) + row * block.width();
      const int64_t target = targets[block.begin + row];
      if (target == ignored) {
        std::memset(gradient, 0, block.width() * sizeof(uint16_t));
        continue;
      }
      const float *largest = block.largest.const_data_ptr<float>() + row, *sums = block.sums.const_data_ptr<float>() + row;
      float all = largest[0];
      for (int64_t tile = 1; tile < tiles; ++tile) all = largest[tile * block.height()] > all ? largest[tile * block.height()] : all;
      double sum = 0;
      for (int64_t tile = 0; tile < tiles; ++tile) {
        scales[tile] = std::exp(largest[tile * block.height()] - all);
        sum += static_cast<double>(scales[tile]) * sums[tile * block.height()];
      }
      losses[row] = std::log(sum) + (static_cast<double>(all) - block.targets[row]);
      const float factor = static_cast<float>(share / sum);
      for (int64_t tile = 0; tile < tiles; ++tile) rows::scale(gradient + tile * kTile, scales[tile] * factor, kTile);
      rows::store(rows::load(gradient + target) - share, gradient + target);
    }
  });
  double sum = 0;
  for (double loss : losses) sum += loss;
  return sum;
}

// gradient of the logits * weight, into rows of `out`, float32.
void hidden_gradient(const Block& block, const at::Tensor& interleaved, const at::Tensor& out) {
  BITNET_PROFILED("bitnet::head_input_gradient");
  const int64_t size = out.size(1), stride = block.width() * 2;
  float* place = out.data_ptr<float>() + block.begin * size;
  for (int64_t first = 0; first < block.width(); first += kDepthAtOnce) {
    const int64_t depth = std::min(kDepthAtOnce, block.width() - first) * 2;
    auto parts_of = [&](int64_t row, int64_t panel, matmul::Part* parts) {
      const auto* right = reinterpret_cast<const uint8_t*>(bits(interleaved)) + panel * matmul::panel_bytes(stride) + first / 2 * kTile * 4;
      parts[0] = matmul::rows_part(bits(block.exponentials) + row * block.width() + first, stride, right, depth);
      return 1;
    };
    matmul::for_each_tile<float>(block.end - block.begin, matmul::num_tiles(size), depth * matmul::round_up(size, kTile), parts_of, [&](int64_t row, int64_t count, int64_t panel, float* tile) {
      const int64_t width = std::min(kTile, size - panel * kTile);
      (first == 0 ? static_cast<void (*)(const float*, float*, int64_t, int64_t, int64_t)>(matmul::store_tile) : matmul::add_tile)(
          tile, place + row * size + panel * kTile, size, count, width);
    });
  }
}

// The transposed gradient of the logits * hidden, added to `out`, float32 [vocabulary, size]; `is_first` stores.
void head_gradient(const Block& block, const at::Tensor& hidden, const at::Tensor& out, bool is_first) {
  BITNET_PROFILED("bitnet::head_weight_gradient");
  const auto left = panels::transposed_rows(block.exponentials, 0, block.height());
  const auto right = panels::interleave_bfloat16(hidden, block.begin, block.end);
  const int64_t depth = block.height() * 2, size = out.size(1);
  auto parts_of = [&](int64_t row, int64_t panel, matmul::Part* parts) {
    const auto* operand = reinterpret_cast<const uint8_t*>(bits(right)) + panel * matmul::panel_bytes(depth);
    parts[0] = {reinterpret_cast<const uint8_t*>(bits(left)) + row * depth, matmul::kDepthStep, matmul::kDepthStep * kTile, operand, depth};
    return 1;
  };
  matmul::for_each_tile<float>(block.vocabulary, matmul::num_tiles(size), right.numel() * 2, parts_of, [&](int64_t row, int64_t count, int64_t panel, float* tile) {
    float* place = out.data_ptr<float>() + row * size + panel * kTile;
    const int64_t width = std::min(kTile, size - panel * kTile);
    (is_first ? static_cast<void (*)(const float*, float*, int64_t, int64_t, int64_t)>(matmul::store_tile) : matmul::add_tile)(tile, place, size, count, width);
  });
}

struct HeadCrossEntropy : Function<HeadCrossEntropy> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets, int64_t ignored,
                            bool has_gradient) {
    const int64_t size = hidden.size(-1), vocabulary = weight.size(0), num_rows = targets.numel();
    const auto rows = panels::padded(hidden.reshape({num_rows, size}));
    const auto target = targets.contiguous();
    const auto* ids = target.const_data_ptr<int64_t>();
    int64_t count = 0;
    for (int64_t row = 0; row < num_rows; ++row) {
      TORCH_CHECK(ids[row] == ignored || (ids[row] >= 0 && ids[row] < vocabulary), "a target of ", ids[row], " is no token of ", vocabulary);
      count += ids[row] != ignored;
    }
    const auto options = weight.options().requires_grad(false);
    const auto operand = panels::pack_values(weight.detach());
    auto rows_gradient = has_gradient ? at::empty({num_rows, size}, options) : at::Tensor();
    auto weight_gradient = has_gradient ? at::empty_like(weight, options) : at::Tensor();
    const int64_t step = std::clamp<int64_t>(kMostLogits / matmul::round_up(vocabulary, kTile) / kTile * kTile, kTile, 4096);
    double sum = 0;
    for (int64_t begin = 0; begin < num_rows; begin += step) {
      Block block(begin, std::min(num_rows, begin + step), vocabulary, options);
      fill(block, rows, operand.columns, ids);
      sum += losses(block, ids, ignored, 1.f / count);
      if (!has_gradient) continue;
      hidden_gradient(block, operand.interleaved, rows_gradient);
      head_gradient(block, rows, weight_gradient, begin == 0);
    }
    if (has_gradient) context->save_for_backward({rows_gradient.to(hidden.scalar_type()).view(hidden.sizes()), weight_gradient});
    return at::scalar_tensor(sum / count, options);
  }

  // In place: a second pass over the same graph is an error of autograd, not a wrong result.
  static variable_list backward(AutogradContext* context, variable_list arriving) {
    const auto saved = context->get_saved_variables();
    if (arriving[0].item<double>() != 1.0) at::_foreach_mul_(saved, arriving[0].item());
    return {saved[0], saved[1], Variable(), Variable(), Variable()};
  }
};

}  // namespace

extern "C" {

// The mean cross-entropy of softmax(hidden weight^T), hidden [.., size], weight float32 [vocabulary, size], over the int64 targets [..]
// that are not `ignored`.
char* bitnet_head_cross_entropy(const at::Tensor* hidden, const at::Tensor* weight, const at::Tensor* targets, int64_t ignored, at::Tensor** out) {
  return guarded([&] {
    TORCH_CHECK(matmul::is_supported(), "this processor has no kernel for a head in tiles");
    require_rows(*hidden);
    TORCH_CHECK(weight->dim() == 2 && weight->size(1) == hidden->size(-1) && weight->scalar_type() == at::kFloat && weight->device().is_cpu() &&
                    targets->scalar_type() == at::kLong && targets->sizes() == hidden->sizes().slice(0, hidden->dim() - 1),
                "a head of ", weight->sizes(), " ", weight->toString(), " and targets of ", targets->sizes(), " do not fit rows of ", hidden->sizes());
    const bool has_gradient = c10::GradMode::is_enabled() && (hidden->requires_grad() || weight->requires_grad());
    *out = new at::Tensor(HeadCrossEntropy::apply(*hidden, *weight, *targets, ignored, has_gradient));
  });
}

}  // extern "C"
