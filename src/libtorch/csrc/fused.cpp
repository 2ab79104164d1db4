// Differentiable operations that need one pass over memory where tensor operations need many. On the CPU only.
#include "autograd.h"
#include "row_access.h"

namespace {

void store_int8(const float* row, const at::Tensor& out, int64_t index, int64_t size) {
  float largest = rows::largest_magnitude(row, size);
  float scale = 127.f / (largest < kSmallestScale ? kSmallestScale : largest);
  if (out.scalar_type() == at::kFloat) {
    rows::int8_values(row, scale, out.data_ptr<float>() + index * size, size);
  } else {
    rows::int8_values(row, scale, bits(out) + index * size, size);
  }
}

struct QuantizeActivations : Function<QuantizeActivations> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, bool to_bfloat16) {
    BITNET_PROFILED("bitnet::quantize_activations");
    require_rows(input);
    auto source = readable(input);
    auto out = at::empty(source.sizes(), source.options().dtype(scalar_type(to_bfloat16)));
    int64_t size = source.size(-1);
    for_each_row(source.numel() / size, size, [&](int64_t row) {
      thread_local std::vector<float> buffer;
      store_int8(as_float(source, row, size, buffer), out, row, size);
    });
    context->saved_data["type"] = static_cast<int64_t>(input.scalar_type());
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto type = static_cast<at::ScalarType>(context->saved_data["type"].toInt());
    return {gradients[0].to(type), Variable()};
  }
};

struct QuantizeWeights : Function<QuantizeWeights> {
  static at::Tensor forward(AutogradContext*, const at::Tensor& weight, bool to_bfloat16) {
    BITNET_PROFILED("bitnet::quantize_weights");
    require_rows(weight);
    auto source = weight.contiguous();
    auto out = at::empty(source.sizes(), source.options().dtype(scalar_type(to_bfloat16)));
    const float* values = source.const_data_ptr<float>();
    int64_t count = source.numel(), part = (count + kParts - 1) / kParts;
    auto length = [&](int64_t index) { return std::max<int64_t>(0, std::min(part, count - index * part)); };
    float scale = absmean_scale(source);
    at::parallel_for(0, kParts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t index = begin; index < end; ++index) {
        if (to_bfloat16) {
          rows::ternary_values(values + index * part, scale, bits(out) + index * part, length(index));
        } else {
          rows::ternary_values(values + index * part, scale, out.data_ptr<float>() + index * part, length(index));
        }
      }
    });
    return out;
  }

  static variable_list backward(AutogradContext*, variable_list gradients) { return {gradients[0].to(at::kFloat), Variable()}; }
};

// Gradient of y = x / sqrt(mean(x^2) + eps) * weight.
std::pair<at::Tensor, at::Tensor> norm_gradients(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight,
                                                 const at::Tensor& inverses) {
  int64_t size = input.size(-1), num_rows = input.numel() / size, part = (num_rows + kParts - 1) / kParts;
  auto input_gradient = at::empty(input.sizes(), input.options().dtype(at::kFloat));
  auto parts = at::zeros({kParts, size}, weight.options());
  const float* scale = weight.const_data_ptr<float>();
  at::parallel_for(0, kParts, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row_buffer, gradient_buffer;
    for (int64_t index = begin; index < end; ++index) {
      for (int64_t row = index * part; row < std::min(num_rows, (index + 1) * part); ++row) {
        const float* x = as_float(input, row, size, row_buffer);
        const float* g = as_float(gradient, row, size, gradient_buffer);
        float inverse = inverses.const_data_ptr<float>()[row];
        float slope = inverse * inverse * inverse * rows::weighted_dot(g, scale, x, size) / size;
        rows::norm_gradient(g, scale, x, inverse, slope, input_gradient.data_ptr<float>() + row * size,
                            parts.data_ptr<float>() + index * size, size);
      }
    }
  });
  return {input_gradient.to(input.scalar_type()), parts.sum(0)};
}

struct NormAndQuantize : Function<NormAndQuantize> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight, double eps, bool to_bfloat16) {
    BITNET_PROFILED("bitnet::norm_and_quantize");
    require_rows(input);
    TORCH_CHECK(weight.sizes() == input.sizes().slice(input.dim() - 1) && weight.device().is_cpu() && weight.is_contiguous(),
                "a norm of the shape ", weight.sizes(), " does not fit rows of the shape ", input.sizes());
    auto source = readable(input);
    int64_t size = source.size(-1), num_rows = source.numel() / size;
    auto out = at::empty(source.sizes(), source.options().dtype(scalar_type(to_bfloat16)));
    auto inverses = at::empty({num_rows}, weight.options());
    const float* scale = weight.const_data_ptr<float>();
    for_each_row(num_rows, size, [&](int64_t row) {
      thread_local std::vector<float> buffer, normed;
      normed.resize(size);
      const float* values = as_float(source, row, size, buffer);
      float inverse = 1.f / std::sqrt(rows::sum_of_squares(values, size) / size + static_cast<float>(eps));
      inverses.data_ptr<float>()[row] = inverse;
      rows::normalize(values, scale, inverse, normed.data(), size);
      store_int8(normed.data(), out, row, size);
    });
    context->save_for_backward({source, weight, inverses});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    auto [input, weight] = norm_gradients(readable(gradients[0]), saved[0], saved[1], saved[2]);
    return {input, weight, Variable(), Variable()};
  }
};

struct SquaredReluGate : Function<SquaredReluGate> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate, const at::Tensor& up) {
    BITNET_PROFILED("bitnet::squared_relu_gate");
    require_rows(gate);
    TORCH_CHECK(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type() && gate.device() == up.device(),
                "a gate of ", gate.sizes(), " ", gate.toString(), " does not fit values of ", up.sizes(), " ", up.toString());
    auto g = readable(gate), u = readable(up);
    auto out = at::empty_like(g);
    for_each_span(g, [&](int64_t start, int64_t count) {
      if (g.scalar_type() == at::kFloat) {
        rows::squared_relu_gate(g.const_data_ptr<float>() + start, u.const_data_ptr<float>() + start, out.data_ptr<float>() + start, count);
      } else {
        rows::squared_relu_gate(bits(g) + start, bits(u) + start, bits(out) + start, count);
      }
    });
    context->save_for_backward({g, u});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    auto g = saved[0], u = saved[1], arriving = gradients[0].to(g.scalar_type()).contiguous();
    auto gate = at::empty_like(g), up = at::empty_like(u);
    for_each_span(g, [&](int64_t start, int64_t count) {
      if (g.scalar_type() == at::kFloat) {
        rows::squared_relu_gate_gradient(arriving.const_data_ptr<float>() + start, g.const_data_ptr<float>() + start,
                                         u.const_data_ptr<float>() + start, gate.data_ptr<float>() + start, up.data_ptr<float>() + start, count);
      } else {
        rows::squared_relu_gate_gradient(bits(arriving) + start, bits(g) + start, bits(u) + start, bits(gate) + start, bits(up) + start, count);
      }
    });
    return {gate, up};
  }
};

}  // namespace

extern "C" {

// clamp(round(x * s), -128, 127) / s with s = 127 / max(max|x|, 1e-5) for each row of the last axis; the gradient passes straight.
char* bitnet_quantize_activations(const at::Tensor* input, bool to_bfloat16, at::Tensor** out) {
  return guarded([&] { *out = new at::Tensor(QuantizeActivations::apply(*input, to_bfloat16)); });
}

// clamp(round(W / s), -1, 1) * s with s = max(mean|W|, 1e-5); the gradient passes straight.
char* bitnet_quantize_weights(const at::Tensor* weight, bool to_bfloat16, at::Tensor** out) {
  return guarded([&] { *out = new at::Tensor(QuantizeWeights::apply(*weight, to_bfloat16)); });
}

// RMS norm over the last axis, then bitnet_quantize_activations.
char* bitnet_norm_and_quantize(const at::Tensor* input, const at::Tensor* weight, double eps, bool to_bfloat16, at::Tensor** out) {
  return guarded([&] { *out = new at::Tensor(NormAndQuantize::apply(*input, *weight, eps, to_bfloat16)); });
}

// relu(gate)^2 * up
char* bitnet_squared_relu_gate(const at::Tensor* gate, const at::Tensor* up, at::Tensor** out) {
  return guarded([&] { *out = new at::Tensor(SquaredReluGate::apply(*gate, *up)); });
}

}  // extern "C"
