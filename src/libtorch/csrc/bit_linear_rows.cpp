// See bit_linear_rows.h.
#include "bit_linear_rows.h"

#include "panels.h"

namespace bit_linear {

using matmul::kTile;

void Source::check() const {
  require_rows(input);
  TORCH_CHECK(!up.defined() || (up.sizes() == input.sizes() && up.scalar_type() == input.scalar_type() && up.device() == input.device()),
              "a gate of ", input.sizes(), " ", input.toString(), " does not fit values of ", up.sizes(), " ", up.toString());
  TORCH_CHECK(!norm.defined() || (norm.sizes() == input.sizes().slice(input.dim() - 1) && norm.device().is_cpu() && norm.is_contiguous() &&
                                  norm.scalar_type() == at::kFloat),
              "a norm of the shape ", norm.sizes(), " does not fit rows of the shape ", input.sizes());
}

namespace {

const float* as_float(const float* row, int64_t, float*) { return row; }
const float* as_float(const uint16_t* row, int64_t size, float* widened) {
  rows::widen(row, widened, size);
  return widened;
}

// The rows of a source before the norm, as float32.
class Reader {
 public:
  explicit Reader(const Source& source)
      : size_(source.size()), is_float_(source.input.scalar_type() == at::kFloat), input_(source.input.const_data_ptr()),
        up_(source.up.defined() ? source.up.const_data_ptr() : nullptr), row_(size_) {}

  const float* row(int64_t row) {
    const int64_t start = row * size_;
    if (is_float_ && !up_) return floats(input_) + start;
    if (!up_) {
      rows::widen(bits(input_) + start, row_.data(), size_);
    } else if (is_float_) {
      rows::squared_relu_gate(floats(input_) + start, floats(up_) + start, row_.data(), size_);
    } else {
      rows::squared_relu_gate(bits(input_) + start, bits(up_) + start, row_.data(), size_);
    }
    return row_.data();
  }

  // The gradients of a row's gate and values.
  void gate_gradient(const float* arriving, int64_t row, void* input, void* up) const {
    const int64_t start = row * size_;
    if (is_float_) {
      rows::squared_relu_gate_gradient(arriving, floats(input_) + start, floats(up_) + start, static_cast<float*>(input) + start,
                                       static_cast<float*>(up) + start, size_);
    } else {
      rows::squared_relu_gate_gradient(arriving, bits(input_) + start, bits(up_) + start, static_cast<uint16_t*>(input) + start,
                                       static_cast<uint16_t*>(up) + start, size_);
    }
  }

 private:
  static const float* floats(const void* numbers) { return static_cast<const float*>(numbers); }
  static const uint16_t* bits(const void* numbers) { return static_cast<const uint16_t*>(numbers); }

  int64_t size_;
  bool is_float_;
  const void *input_, *up_;
  std::vector<float> row_;
};

}  // namespace

Codes codes_for(const Source& source) {
  const int64_t height = matmul::round_up(source.num_rows(), kTile);
  const auto options = source.input.options().dtype(at::kFloat).requires_grad(false);
  return {at::empty({height, panels::code_stride(source.size())}, options.dtype(at::kChar)), at::empty({height}, options),
          at::empty({height}, options.dtype(at::kInt)), source.norm.defined() ? at::empty({height}, options) : at::Tensor()};
}

void quantize_rows(const Source& source, int64_t begin, int64_t end, const Codes& out) {
  const int64_t size = source.size(), stride = out.codes.size(1), num_rows = source.num_rows();
  const float* weight = source.norm.defined() ? source.norm.const_data_ptr<float>() : nullptr;
  float* inverses = weight ? out.inverses.data_ptr<float>() : nullptr;
  auto* codes = out.codes.data_ptr<int8_t>();
  auto* scales = out.scales.data_ptr<float>();
  auto* offsets = out.offsets.data_ptr<int32_t>();
  Reader reader(source);
  std::vector<float> normed(weight ? size : 0);
  for (int64_t row = begin; row < end; ++row) {
    int8_t* place = codes + row * stride;
    std::memset(place + size, 0, stride - size);
    if (row >= num_rows) {
      std::memset(place, 0, size);
      continue;
    }
    const float* values = reader.row(row);
    if (weight) {
      inverses[row] = 1.f / std::sqrt(rows::sum_of_squares(values, size) / size + static_cast<float>(source.eps));
      rows::normalize(values, weight, inverses[row], normed.data(), size);
      values = normed.data();
    }
    const float largest = rows::largest_magnitude(values, size);
    scales[row] = 127.f / (largest < kSmallestScale ? kSmallestScale : largest);
    offsets[row] = rows::int8_codes(values, scales[row], place, size);
  }
}

SourceGradients::SourceGradients(const Source& source) : input(at::empty_like(source.input)) {
  if (source.up.defined()) up = at::empty_like(source.up);
  if (source.norm.defined()) norms = at::zeros({matmul::num_tiles(source.num_rows()), source.size()}, source.norm.options().requires_grad(false));
}

template <typename Number>
void SourceGradients::set_rows(const Source& source, const at::Tensor& inverses, int64_t begin, int64_t end, const Number* arriving) const {
  const int64_t size = source.size();
  const bool is_float = input.scalar_type() == at::kFloat;
  const float* weight = source.norm.defined() ? source.norm.const_data_ptr<float>() : nullptr;
  const float* inverse = weight ? inverses.const_data_ptr<float>() : nullptr;
  float* norm = weight ? norms.data_ptr<float>() : nullptr;
  void *inputs = input.data_ptr(), *ups = up.defined() ? up.data_ptr() : nullptr;
  Reader reader(source);
  std::vector<float> widened(size), normed(weight ? size : 0);
  for (int64_t row = begin; row < end; ++row, arriving += size) {
    const float* gradient = as_float(arriving, size, widened.data());
    if (weight) {
      const float* values = reader.row(row);
      const float slope = inverse[row] * inverse[row] * inverse[row] * rows::weighted_dot(gradient, weight, values, size) / size;
      rows::norm_gradient(gradient, weight, values, inverse[row], slope, normed.data(), norm + row / kTile * size, size);
      gradient = normed.data();
    }
    if (ups) {
      reader.gate_gradient(gradient, row, inputs, ups);
    } else if (is_float) {
      std::memcpy(static_cast<float*>(inputs) + row * size, gradient, size * sizeof(float));
    } else {
      rows::narrow(gradient, static_cast<uint16_t*>(inputs) + row * size, size);
    }
  }
}

template void SourceGradients::set_rows(const Source&, const at::Tensor&, int64_t, int64_t, const float*) const;
template void SourceGradients::set_rows(const Source&, const at::Tensor&, int64_t, int64_t, const uint16_t*) const;

}  // namespace bit_linear
