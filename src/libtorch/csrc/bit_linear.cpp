// The whole of BitLinear as one differentiable operation: norm, int8 codes of the input, integer products with ternary codes, scales; for
// several weights that share an input. On processors that matmul.h supports.
#include "autograd.h"
#include "panels.h"

using OptionalTensor = std::optional<at::Tensor>;

namespace {

using matmul::kTile;

constexpr int64_t kMostWeights = 3;
// Rows whose gradients are laid out at once for the gradient of the weights: both operands of a tile then fit into the first two caches.
constexpr int64_t kRowsAtOnce = 1024;

// What is quantized: rows of `input`, or of relu(input)^2 * up; normed first where there is a norm.
struct Source {
  at::Tensor input, up, norm;  // [.., size]; the same or none; [size] or none
  double eps;

  int64_t size() const { return input.size(-1); }
  int64_t num_rows() const { return input.numel() / size(); }

  void check() const {
    require_rows(input);
    TORCH_CHECK(!up.defined() || (up.sizes() == input.sizes() && up.scalar_type() == input.scalar_type() && up.device() == input.device()),
                "a gate of ", input.sizes(), " ", input.toString(), " does not fit values of ", up.sizes(), " ", up.toString());
    TORCH_CHECK(!norm.defined() || (norm.sizes() == input.sizes().slice(input.dim() - 1) && norm.device().is_cpu() && norm.is_contiguous() &&
                                    norm.scalar_type() == at::kFloat),
                "a norm of the shape ", norm.sizes(), " does not fit rows of the shape ", input.sizes());
  }

  // Row `row` before the norm.
  const float* row(int64_t row, std::vector<float>& buffer) const {
    if (!up.defined()) return as_float(input, row, size(), buffer);
    buffer.resize(size());
    const int64_t start = row * size();
    if (input.scalar_type() == at::kFloat) {
      rows::squared_relu_gate(input.const_data_ptr<float>() + start, up.const_data_ptr<float>() + start, buffer.data(), size());
    } else {
      rows::squared_relu_gate(bits(input) + start, bits(up) + start, buffer.data(), size());
    }
    return buffer.data();
  }
};

// Rows of int8 codes, of which row r stands for codes / scales[r]; offsets[r] is the sum of its codes. The rows of codes are filled up
// to a multiple of 32, their width to one of 64.
struct Codes {
  at::Tensor codes, scales, offsets, inverses;  // the last: of the norm, 1 / sqrt(mean square + eps)
};

Codes quantize(const Source& source) {
  BITNET_PROFILED("bitnet::norm_and_quantize");
  const int64_t size = source.size(), num_rows = source.num_rows(), stride = panels::code_stride(size);
  const auto options = source.input.options().dtype(at::kFloat).requires_grad(false);
  const int64_t height = matmul::round_up(num_rows, kTile);
  Codes out{at::empty({height, stride}, options.dtype(at::kChar)), at::empty({height}, options), at::empty({height}, options.dtype(at::kInt)),
            source.norm.defined() ? at::empty({num_rows}, options) : at::Tensor()};
  auto* codes = out.codes.data_ptr<int8_t>();
  for_each_row(height, size, [&](int64_t row) {
    thread_local std::vector<float> buffer, normed;
    int8_t* place = codes + row * stride;
    std::memset(place + size, 0, stride - size);
    if (row >= num_rows) {
      std::memset(place, 0, size);
      return;
    }
    const float* values = source.row(row, buffer);
    if (source.norm.defined()) {
      const float inverse = 1.f / std::sqrt(rows::sum_of_squares(values, size) / size + static_cast<float>(source.eps));
      out.inverses.data_ptr<float>()[row] = inverse;
      normed.resize(size);
      rows::normalize(values, source.norm.const_data_ptr<float>(), inverse, normed.data(), size);
      values = normed.data();
    }
    const float largest = rows::largest_magnitude(values, size);
    const float scale = 127.f / (largest < kSmallestScale ? kSmallestScale : largest);
    out.scales.data_ptr<float>()[row] = scale;
    out.offsets.data_ptr<int32_t>()[row] = rows::int8_codes(values, scale, place, size);
  });
  return out;
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

std::vector<int64_t> with_last(at::IntArrayRef sizes, int64_t last) {
  std::vector<int64_t> all(sizes.begin(), sizes.end());
  all.back() = last;
  return all;
}

// codes * weight^T with all scales, into `out`; added to `residual` (float32) where there is one.
void product(const Codes& input, const panels::Weight& weight, int64_t size, const at::Tensor& residual, const at::Tensor& out) {
  BITNET_PROFILED("bitnet::integer_product");
  const int64_t outputs = out.size(-1), num_rows = outputs == 0 ? 0 : out.numel() / outputs, stride = input.codes.stride(0);
  const int64_t depth = matmul::round_up(size, matmul::kDepthStep);
  const float weight_scale = weight.scale.item<float>();
  const auto* codes = input.codes.const_data_ptr<int8_t>();
  const auto* panel_codes = weight.codes.const_data_ptr<uint8_t>();
  auto parts_of = [&](int64_t row, int64_t panel, matmul::Part* parts) {
    parts[0] = matmul::rows_part(codes + row * stride, stride, panel_codes + panel * matmul::panel_bytes(depth), depth);
    return 1;
  };
  matmul::for_each_tile<int32_t>(num_rows, matmul::num_tiles(outputs), weight.codes.numel(), parts_of, [&](int64_t row, int64_t count, int64_t panel, const int32_t* tile) {
    const int64_t column = panel * kTile, width = std::min(kTile, outputs - column), start = row * outputs + column;
    const matmul::Scales scales{input.scales.const_data_ptr<float>() + row, input.offsets.const_data_ptr<int32_t>() + row, weight_scale};
    const float* added = residual.defined() ? residual.const_data_ptr<float>() + start : nullptr;
    auto* place = static_cast<uint8_t*>(out.data_ptr()) + start * out.element_size();
    matmul::store_scaled(tile, scales, added, place, out.scalar_type() == at::kBFloat16, outputs, count, width);
  });
}

// The sum over weights of gradient * weight, [rows, size] in bfloat16; `gradients` are padded.
at::Tensor input_gradient(const std::vector<at::Tensor>& gradients, const std::vector<at::Tensor>& values, int64_t num_rows, int64_t size) {
  BITNET_PROFILED("bitnet::input_gradient");
  auto out = at::empty({num_rows, size}, gradients[0].options());
  int64_t right_bytes = 0;
  for (const auto& operand : values) right_bytes += operand.numel() * 2;
  auto parts_of = [&](int64_t row, int64_t panel, matmul::Part* parts) {
    for (size_t index = 0; index < gradients.size(); ++index) {
      const int64_t depth = gradients[index].size(1) * 2;
      const auto* right = reinterpret_cast<const uint8_t*>(bits(values[index])) + panel * matmul::panel_bytes(depth);
      parts[index] = matmul::rows_part(bits(gradients[index]) + row * gradients[index].size(1), depth, right, depth);
    }
    return static_cast<int64_t>(gradients.size());
  };
  matmul::for_each_tile<float>(num_rows, matmul::num_tiles(size), right_bytes, parts_of, [&](int64_t row, int64_t count, int64_t panel, const float* tile) {
    const int64_t column = panel * kTile;
    matmul::store_tile(tile, bits(out) + row * size + column, size, count, std::min(kTile, size - column));
  });
  return out;
}

// gradient^T * input of each weight, float32 [outputs, size].
std::vector<at::Tensor> weight_gradients(const std::vector<at::Tensor>& gradients, const std::vector<int64_t>& outputs, const at::Tensor& codes,
                                         const at::Tensor& scales, int64_t num_rows, int64_t size) {
  BITNET_PROFILED("bitnet::weight_gradients");
  std::vector<at::Tensor> out;
  for (int64_t count : outputs) out.push_back(at::empty({count, size}, scales.options()));
  for (int64_t begin = 0; begin < num_rows; begin += kRowsAtOnce) {
    const int64_t end = std::min(num_rows, begin + kRowsAtOnce), depth = matmul::round_up(end - begin, kTile) * 2;
    const auto inputs = panels::interleave_rows(codes, scales, size, begin, end);
    for (size_t index = 0; index < gradients.size(); ++index) {
      const auto rows_of_outputs = panels::transposed_rows(gradients[index], begin, end);
      auto parts_of = [&](int64_t row, int64_t panel, matmul::Part* parts) {
        const auto* left = reinterpret_cast<const uint8_t*>(bits(rows_of_outputs)) + row * depth;
        const auto* right = reinterpret_cast<const uint8_t*>(bits(inputs)) + panel * matmul::panel_bytes(depth);
        parts[0] = {left, matmul::kDepthStep, matmul::kDepthStep * kTile, right, depth};
        return 1;
      };
      matmul::for_each_tile<float>(outputs[index], matmul::num_tiles(size), inputs.numel() * 2, parts_of, [&](int64_t row, int64_t count, int64_t panel, const float* tile) {
        const int64_t column = panel * kTile, width = std::min(kTile, size - column);
        float* place = out[index].data_ptr<float>() + row * size + column;
        if (begin == 0) {
          matmul::store_tile(tile, place, size, count, width);
        } else {
          matmul::add_tile(tile, place, size, count, width);
        }
      });
    }
  }
  return out;
}

// From the gradient of what was quantized, [rows, size], to those of input, up and norm.
std::array<at::Tensor, 3> source_gradients(const Source& source, const at::Tensor& inverses, const at::Tensor& gradient) {
  BITNET_PROFILED("bitnet::norm_gradients");
  const int64_t size = source.size(), num_rows = source.num_rows(), part = (num_rows + kParts - 1) / kParts;
  const bool is_float = source.input.scalar_type() == at::kFloat;
  const auto* weight = source.norm.defined() ? source.norm.const_data_ptr<float>() : nullptr;
  auto input = at::empty_like(source.input), up = source.up.defined() ? at::empty_like(source.up) : at::Tensor();
  auto norms = source.norm.defined() ? at::zeros({kParts, size}, source.norm.options()) : at::Tensor();
  at::parallel_for(0, kParts, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row_buffer, gradient_buffer, normed(size);
    for (int64_t row = begin * part; row < std::min(num_rows, end * part); ++row) {
      const float* arriving = as_float(gradient, row, size, gradient_buffer);
      if (weight) {
        const float* values = source.row(row, row_buffer);
        const float inverse = inverses.const_data_ptr<float>()[row];
        const float slope = inverse * inverse * inverse * rows::weighted_dot(arriving, weight, values, size) / size;
        rows::norm_gradient(arriving, weight, values, inverse, slope, normed.data(), norms.data_ptr<float>() + row / part * size, size);
        arriving = normed.data();
      }
      const int64_t start = row * size;
      if (up.defined() && is_float) {
        rows::squared_relu_gate_gradient(arriving, source.input.const_data_ptr<float>() + start, source.up.const_data_ptr<float>() + start,
                                         input.data_ptr<float>() + start, up.data_ptr<float>() + start, size);
      } else if (up.defined()) {
        rows::squared_relu_gate_gradient(arriving, bits(source.input) + start, bits(source.up) + start, bits(input) + start, bits(up) + start, size);
      } else if (is_float) {
        std::memcpy(input.data_ptr<float>() + start, arriving, size * sizeof(float));
      } else {
        rows::narrow(arriving, bits(input) + start, size);
      }
    }
  });
  return {input, up, norms.defined() ? norms.sum(0) : at::Tensor()};
}

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
    const auto quantized = quantize(source);
    const bool reads_source = norm.defined() || up.defined();
    variable_list results;
    variable_list saved{quantized.codes, quantized.scales, quantized.inverses, norm, reads_source ? source.input : at::Tensor(), source.up};
    std::vector<int64_t> outputs;
    for (size_t index = 0; index < packed.size(); ++index) {
      const auto& master = masters[index];
      TORCH_CHECK(master.dim() == 2 && master.size(1) == source.size(), "a weight of the shape ", master.sizes(),
                  " does not fit rows of the size ", source.size());
      outputs.push_back(master.size(0));
      const auto sizes = with_last(input.sizes(), outputs.back());
      TORCH_CHECK(!residual.defined() || (residual.sizes() == at::IntArrayRef(sizes) && residual.scalar_type() == at::kFloat),
                  "a residual stream of ", residual.sizes(), " ", residual.toString(), " does not fit an update of ", sizes);
      const auto type = residual.defined() ? at::kFloat : scalar_type(to_bfloat16);
      results.push_back(at::empty(sizes, quantized.scales.options().dtype(type)));
      product(quantized, packed[index], source.size(), stream, results.back());
      saved.push_back(packed[index].values);
    }
    context->save_for_backward(saved);
    context->saved_data["sizes"] = input.sizes().vec();
    context->saved_data["outputs"] = outputs;
    context->saved_data["type"] = static_cast<int64_t>(input.scalar_type());
    context->saved_data["eps"] = eps;
    context->saved_data["has_residual"] = residual.defined();
    context->saved_data["is_bfloat16"] = to_bfloat16;
    return results;
  }

  static variable_list backward(AutogradContext* context, variable_list arriving) {
    const auto saved = context->get_saved_variables();
    const auto sizes = context->saved_data["sizes"].toIntVector(), outputs = context->saved_data["outputs"].toIntVector();
    const auto type = static_cast<at::ScalarType>(context->saved_data["type"].toInt());
    const bool is_bfloat16 = context->saved_data["is_bfloat16"].toBool();
    const auto& codes = saved[0];
    const auto& scales = saved[1];
    const int64_t size = sizes.back(), num_rows = c10::multiply_integers(sizes) / size;
    std::vector<at::Tensor> gradients, values;
    for (size_t index = 0; index < outputs.size(); ++index) {
      const auto rows = arriving[index].reshape({num_rows, outputs[index]});
      gradients.push_back(is_bfloat16 ? panels::padded(rows) : rows.to(at::kFloat));
      values.push_back(saved[6 + index]);
    }
    at::Tensor input;
    std::vector<at::Tensor> weights;
    if (is_bfloat16) {
      input = input_gradient(gradients, values, num_rows, size);
      weights = weight_gradients(gradients, outputs, codes, scales, num_rows, size);
    } else {
      const auto inputs = dequantized(codes, scales, num_rows, size);
      for (size_t index = 0; index < outputs.size(); ++index) {
        const auto part = gradients[index].mm(values[index]);
        input = input.defined() ? input.add_(part) : part;
        weights.push_back(gradients[index].t().mm(inputs));
      }
    }
    weights.resize(kMostWeights);
    std::array<at::Tensor, 3> source;
    if (saved[4].defined()) {
      source = source_gradients({saved[4], saved[5], saved[3], context->saved_data["eps"].toDouble()}, saved[2], input);
      source[0] = source[0].to(type);
      if (source[1].defined()) source[1] = source[1].to(type);
    } else {
      source[0] = input.to(type);
    }
    const auto residual = context->saved_data["has_residual"].toBool() ? arriving[0] : at::Tensor();
    return {source[0].view(sizes), source[1], source[2], residual, weights[0], weights[1], weights[2], Variable(), Variable(), Variable()};
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
