// The whole of BitLinear as one differentiable operation: norm, int8 codes of the input, integer products with ternary codes, scales; for
// several weights that share an input. On processors that matmul.h supports.
#include "autograd.h"
#include "bit_linear_rows.h"
#include "panels.h"

using OptionalTensor = std::optional<at::Tensor>;

namespace {

using bit_linear::Codes;
using bit_linear::Source;
using bit_linear::SourceGradients;
using matmul::kTile;

constexpr int64_t kMostWeights = 3;
// Rows whose gradients are laid out at once for the gradient of the weights: both operands of a tile then fit into the first two caches.
constexpr int64_t kRowsAtOnce = 1024;

std::vector<int64_t> with_last(at::IntArrayRef sizes, int64_t last) {
  std::vector<int64_t> all(sizes.begin(), sizes.end());
  all.back() = last;
  return all;
}

// codes * weight^T with all scales, into `out`; added to `residual` (float32) where there is one. Strips `first` to `last`.
void product(const Codes& input, const panels::Weight& weight, int64_t num_rows, int64_t size, const at::Tensor& residual, const at::Tensor& out,
             int64_t first, int64_t last) {
  const int64_t outputs = out.size(-1), stride = input.codes.stride(0), depth = matmul::round_up(size, matmul::kDepthStep);
  const float weight_scale = *weight.scale.const_data_ptr<float>();
  const auto* codes = input.codes.const_data_ptr<int8_t>();
  const auto* panel_codes = weight.codes.const_data_ptr<uint8_t>();
  auto parts_of = [&](int64_t row, int64_t panel, matmul::Part* parts) {
    parts[0] = matmul::rows_part(codes + row * stride, stride, panel_codes + panel * matmul::panel_bytes(depth), depth);
    return 1;
  };
  const auto* scales = input.scales.const_data_ptr<float>();
  const auto* offsets = input.offsets.const_data_ptr<int32_t>();
  const auto* stream = residual.defined() ? residual.const_data_ptr<float>() : nullptr;
  auto* results = static_cast<uint8_t*>(out.data_ptr());
  const int64_t bytes = out.element_size();
  auto store = [&](int64_t row, int64_t count, int64_t panel, const int32_t* tile) {
    const int64_t column = panel * kTile, width = std::min(kTile, outputs - column), start = row * outputs + column;
    matmul::store_scaled(tile, {scales + row, offsets + row, weight_scale}, stream ? stream + start : nullptr, results + start * bytes, bytes == 2,
                         outputs, count, width);
  };
  matmul::Tiles<int32_t, decltype(parts_of), decltype(store)> tiles(num_rows, parts_of, store);
  tiles.make_all(first, last, 0, matmul::num_tiles(outputs), 1, weight.codes.numel());
}

// Quantizes the source into `codes` and multiplies these by each weight, while they are in the cache.
void products(const Source& source, const Codes& codes, const std::vector<panels::Weight>& weights, const at::Tensor& residual,
              const variable_list& results) {
  BITNET_PROFILED("bitnet::bit_linear");
  matmul::for_each_block(source.num_rows(), [&](int64_t first, int64_t last) {
    bit_linear::quantize_rows(source, first * kTile, last * kTile, codes);
    for (size_t index = 0; index < weights.size(); ++index) {
      product(codes, weights[index], source.num_rows(), source.size(), residual, results[index], first, last);
    }
  });
}

// What the codes stand for, float32 [rows, size].
at::Tensor dequantized(const at::Tensor& codes, const at::Tensor& scales, int64_t num_rows, int64_t size) {
  auto out = at::empty({num_rows, size}, scales.options());
  for_each_row(num_rows, size, [&](int64_t row) {
    const auto* place = codes.const_data_ptr<int8_t>() + row * codes.stride(0);
    rows::dequantized(place, scales.const_data_ptr<float>()[row], out.data_ptr<float>() + row * size, size);
  });
  return out;
}

// The gradient that arrives at one output, [rows, outputs], float32 or bfloat16.
struct Arriving {
  at::Tensor rows, values;  // the second: of the weight, as panels

  int64_t width() const { return matmul::round_up(rows.size(1), kTile); }

  // Strips `first` to `last` in whole tiles of bfloat16: as they are, where they are so, else in `buffer`.
  const uint16_t* strips(int64_t first, int64_t last, Buffer<uint16_t>& buffer) const {
    const int64_t outputs = rows.size(1), begin = first * kTile, count = std::min(last * kTile, rows.size(0)) - begin;
    const bool is_whole = outputs == width() && count == (last - first) * kTile;
    if (is_whole && rows.scalar_type() == at::kBFloat16) return bits(rows) + begin * outputs;
    buffer.assign((last - first) * kTile * width(), 0);
    for (int64_t row = 0; row < count; ++row) {
      uint16_t* place = buffer.data() + row * width();
      if (rows.scalar_type() == at::kFloat) {
        rows::narrow(rows.const_data_ptr<float>() + (begin + row) * outputs, place, outputs);
      } else {
        std::memcpy(place, bits(rows) + (begin + row) * outputs, outputs * sizeof(uint16_t));
      }
    }
    return buffer.data();
  }
};

// The backward pass of several weights that share an input, in bfloat16, a chunk of rows at a time.
class Backward {
 public:
  Backward(const std::vector<Arriving>& arriving, const Source& source, const Codes& codes, const SourceGradients& out)
      : arriving_(arriving), source_(source), codes_(codes), out_(out), size_(source.size()) {
    for (const auto& one : arriving) weights.push_back(at::empty({one.rows.size(1), size_}, codes.scales.options()));
  }

  std::vector<at::Tensor> weights;  // their gradients, float32 [outputs, size]

  void run() {
    const int64_t num_rows = source_.num_rows();
    for (int64_t begin = 0; begin < num_rows; begin += kRowsAtOnce) {
      begin_ = begin, end_ = std::min(num_rows, begin + kRowsAtOnce), blocks_ = matmul::num_tiles(end_ - begin_);
      inputs_ = at::empty({matmul::round_up(size_, kTile) * blocks_ * kTile}, codes_.scales.options().dtype(at::kBFloat16));
      outputs_.clear();
      for (const auto& one : arriving_) outputs_.push_back(at::empty({one.width() * blocks_ * kTile}, inputs_.options()));
      rows_of_chunk();
      weights_of_chunk();
    }
  }

 private:
  // The gradients of the input, and both operands of those of the weights.
  void rows_of_chunk() {
    BITNET_PROFILED("bitnet::input_gradients");
    matmul::for_each_block(end_ - begin_, [&](int64_t first, int64_t last) {
      thread_local Buffer<uint16_t> buffers[kMostWeights];
      const int64_t offset = begin_ / kTile;
      const uint16_t* strips[kMostWeights];
      for (size_t index = 0; index < arriving_.size(); ++index) {
        strips[index] = arriving_[index].strips(offset + first, offset + last, buffers[index]);
        transpose(strips[index], arriving_[index].width(), first, last, bits(outputs_[index]));
      }
      panels::interleave_rows(codes_.codes, codes_.scales, size_, begin_, end_, first * kTile / 2, last * kTile / 2, inputs_);
      input_gradients(strips, offset + first, offset + last);
    });
  }

  void transpose(const uint16_t* strips, int64_t width, int64_t first, int64_t last, uint16_t* out) const {
    for (int64_t strip = first; strip < last; ++strip) {
      for (int64_t column = 0; column < width; column += kTile) {
        matmul::transpose_block(strips + (strip - first) * kTile * width + column, width, out + (column * blocks_ + strip * kTile) * kTile);
      }
    }
  }

  // The sum over weights of gradient * weight, and from there to the source.
  void input_gradients(const uint16_t* const* strips, int64_t first, int64_t last) {
    thread_local Buffer<uint16_t> gradient;
    const int64_t num_rows = std::min(last * kTile, source_.num_rows()) - first * kTile;
    gradient.resize((last - first) * kTile * size_);
    int64_t right_bytes = 0;
    for (const auto& one : arriving_) right_bytes += one.values.numel() * 2;
    const int64_t count = arriving_.size();
    int64_t widths[kMostWeights];
    const uint8_t* values[kMostWeights];
    for (int64_t index = 0; index < count; ++index) {
      widths[index] = arriving_[index].width();
      values[index] = reinterpret_cast<const uint8_t*>(bits(arriving_[index].values));
    }
    auto parts_of = [&](int64_t row, int64_t panel, matmul::Part* parts) {
      for (int64_t index = 0; index < count; ++index) {
        const int64_t width = widths[index], depth = width * 2;
        parts[index] = matmul::rows_part(strips[index] + row * width, depth, values[index] + panel * matmul::panel_bytes(depth), depth);
      }
      return count;
    };
    auto store = [&](int64_t row, int64_t count, int64_t panel, const float* tile) {
      const int64_t column = panel * kTile;
      matmul::store_tile(tile, gradient.data() + row * size_ + column, size_, count, std::min(kTile, size_ - column));
    };
    matmul::Tiles<float, decltype(parts_of), decltype(store)> tiles(num_rows, parts_of, store);
    tiles.make_all(0, last - first, 0, matmul::num_tiles(size_), 1, right_bytes);
    out_.set_rows(source_, codes_.inverses, first * kTile, first * kTile + num_rows, gradient.data());
  }

  // gradient^T * input of each weight; the first chunk stores, the others add.
  void weights_of_chunk() {
    BITNET_PROFILED("bitnet::weight_gradients");
    const int64_t depth = blocks_ * kTile * 2;
    for (size_t index = 0; index < weights.size(); ++index) {
      const auto* outputs = reinterpret_cast<const uint8_t*>(bits(outputs_[index]));
      const auto* inputs = reinterpret_cast<const uint8_t*>(bits(inputs_));
      float* out = weights[index].data_ptr<float>();
      auto parts_of = [&](int64_t row, int64_t panel, matmul::Part* parts) {
        parts[0] = {outputs + row * depth, matmul::kDepthStep, matmul::kDepthStep * kTile, inputs + panel * matmul::panel_bytes(depth), depth};
        return 1;
      };
      matmul::for_each_tile<float>(weights[index].size(0), matmul::num_tiles(size_), inputs_.numel() * 2, parts_of, [&](int64_t row, int64_t count, int64_t panel, const float* tile) {
        const int64_t column = panel * kTile, width = std::min(kTile, size_ - column);
        float* place = out + row * size_ + column;
        if (begin_ == 0) {
          matmul::store_tile(tile, place, size_, count, width);
        } else {
          matmul::add_tile(tile, place, size_, count, width);
        }
      });
    }
  }

  const std::vector<Arriving>& arriving_;
  const Source& source_;
  const Codes& codes_;
  const SourceGradients& out_;
  int64_t size_, begin_ = 0, end_ = 0, blocks_ = 0;
  at::Tensor inputs_;                 // of the chunk: panels of 32 inputs, depth rows
  std::vector<at::Tensor> outputs_;   // of the chunk: transposed gradients
};

struct BitLinear : Function<BitLinear> {
  static variable_list forward(AutogradContext* context, const at::Tensor& input, const OptionalTensor& given_up, const OptionalTensor& given_norm,
                               const OptionalTensor& given_residual, const at::Tensor& first, const OptionalTensor& second,
                               const OptionalTensor& third, double eps, bool to_bfloat16, const std::vector<panels::Weight>& packed) {
    const auto up = given_up.value_or(at::Tensor()), norm = given_norm.value_or(at::Tensor()), residual = given_residual.value_or(at::Tensor());
    Source source{input, up, norm, eps};
    source.check();
    source.input = readable(input);
    if (up.defined()) source.up = readable(up);
    const at::Tensor masters[kMostWeights] = {first, second.value_or(at::Tensor()), third.value_or(at::Tensor())};
    const auto stream = residual.defined() ? residual.contiguous() : residual;
    const auto codes = bit_linear::codes_for(source);
    const bool reads_source = norm.defined() || up.defined();
    variable_list results;
    variable_list saved{codes.codes, codes.scales, codes.inverses, norm, reads_source ? source.input : at::Tensor(), source.up};
    for (size_t index = 0; index < packed.size(); ++index) {
      const auto& master = masters[index];
      TORCH_CHECK(master.dim() == 2 && master.size(1) == source.size(), "a weight of the shape ", master.sizes(),
                  " does not fit rows of the size ", source.size());
      const auto sizes = with_last(input.sizes(), master.size(0));
      TORCH_CHECK(!residual.defined() || (residual.sizes() == at::IntArrayRef(sizes) && residual.scalar_type() == at::kFloat),
                  "a residual stream of ", residual.sizes(), " ", residual.toString(), " does not fit an update of ", sizes);
      const auto type = residual.defined() ? at::kFloat : scalar_type(to_bfloat16);
      results.push_back(at::empty(sizes, codes.scales.options().dtype(type)));
      saved.push_back(packed[index].values);
    }
    products(source, codes, packed, stream, results);
    context->save_for_backward(saved);
    context->saved_data["sizes"] = input.sizes().vec();
    context->saved_data["type"] = static_cast<int64_t>(source.input.scalar_type());
    context->saved_data["given_type"] = static_cast<int64_t>(input.scalar_type());
    context->saved_data["eps"] = eps;
    context->saved_data["has_residual"] = residual.defined();
    context->saved_data["is_bfloat16"] = to_bfloat16;
    return results;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto sizes = context->saved_data["sizes"].toIntVector();
    auto type_of = [&](const char* key) { return static_cast<at::ScalarType>(context->saved_data[key].toInt()); };
    const auto input = saved[4].defined() ? saved[4] : at::empty(sizes, saved[1].options().dtype(type_of("type")));  // only its shape is read
    const Source source{input, saved[5], saved[3], context->saved_data["eps"].toDouble()};
    const Codes codes{saved[0], saved[1], at::Tensor(), saved[2]};
    std::vector<Arriving> arriving;
    for (size_t index = 0; index < gradients.size(); ++index) {
      const auto rows = readable(gradients[index].reshape({source.num_rows(), gradients[index].size(-1)}));
      arriving.push_back({rows, saved[6 + index]});
    }
    SourceGradients out(source);
    const auto weights = context->saved_data["is_bfloat16"].toBool() ? in_bfloat16(arriving, source, codes, out) : in_float32(arriving, source, codes, out);
    auto given = [&](const at::Tensor& gradient) { return gradient.defined() ? gradient.to(type_of("given_type")) : gradient; };
    auto weight = [&](size_t index) { return index < weights.size() ? weights[index] : at::Tensor(); };
    return {given(out.input), given(out.up), out.norms.defined() ? out.norms.sum(0) : at::Tensor(),
            context->saved_data["has_residual"].toBool() ? gradients[0] : at::Tensor(), weight(0), weight(1), weight(2), Variable(), Variable(), Variable()};
  }

  // Both fill `out` and return the gradients of the weights.
  static std::vector<at::Tensor> in_bfloat16(const std::vector<Arriving>& arriving, const Source& source, const Codes& codes, SourceGradients& out) {
    Backward backward(arriving, source, codes, out);
    backward.run();
    return backward.weights;
  }

  static std::vector<at::Tensor> in_float32(const std::vector<Arriving>& arriving, const Source& source, const Codes& codes, SourceGradients& out) {
    const auto inputs = dequantized(codes.codes, codes.scales, source.num_rows(), source.size());
    at::Tensor gradient;
    std::vector<at::Tensor> weights;
    for (const auto& one : arriving) {
      const auto rows = one.rows.to(at::kFloat), part = rows.mm(one.values);
      gradient = gradient.defined() ? gradient.add_(part) : part;
      weights.push_back(rows.t().mm(inputs));
    }
    matmul::for_each_block(source.num_rows(), [&](int64_t first, int64_t last) {
      const int64_t begin = first * kTile, end = std::min(last * kTile, source.num_rows());
      out.set_rows(source, codes.inverses, begin, end, gradient.const_data_ptr<float>() + begin * source.size());
    });
    return weights;
  }
};

}  // namespace

extern "C" {

// The processor's kernels by name, or null where there are none.
const char* bitnet_matmul_name() {
  const auto* machine = matmul::processor();
  return machine ? machine->name : nullptr;
}

// How often `tensor` was written.
char* bitnet_version(const at::Tensor* tensor, int64_t* version) {
  return guarded([&] { *version = static_cast<int64_t>(tensor->_version()); });
}

// A weight matrix as operand: its codes, its values and its scale.
char* bitnet_pack_weight(const at::Tensor* weight, bool to_bfloat16, at::Tensor** out) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    TORCH_CHECK(matmul::is_supported(), "this processor has no kernel for int8 products");
    const auto packed = panels::pack_weight(weight->detach(), to_bfloat16);
    out[0] = new at::Tensor(packed.codes);
    out[1] = new at::Tensor(packed.values);
    out[2] = new at::Tensor(packed.scale);
  });
}

// `count` outputs from one input: [.., size] through weights [outputs, size]; `packed` has three tensors of each. `up`, `norm` and
// `residual` may be null.
char* bitnet_bit_linear(const at::Tensor* input, const at::Tensor* up, const at::Tensor* norm, double eps, const at::Tensor* residual,
                        at::Tensor* const* weights, at::Tensor* const* packed, int64_t count, bool to_bfloat16, at::Tensor** out) {
  return guarded([&] {
    TORCH_CHECK(count >= 1 && count <= kMostWeights && (!residual || count == 1), "one to three weights share an input, one with a residual");
    auto given = [](const at::Tensor* tensor) { return tensor ? OptionalTensor(*tensor) : OptionalTensor(); };
    auto weight = [&](int64_t index) { return given(index < count ? weights[index] : nullptr); };
    std::vector<panels::Weight> operands;
    for (int64_t index = 0; index < count; ++index) operands.push_back({*packed[3 * index], *packed[3 * index + 1], *packed[3 * index + 2]});
    const auto results = BitLinear::apply(*input, given(up), given(norm), given(residual), *weights[0], weight(1), weight(2), eps, to_bfloat16, operands);
    for (int64_t index = 0; index < count; ++index) out[index] = new at::Tensor(results[index]);
  });
}

}  // extern "C"
