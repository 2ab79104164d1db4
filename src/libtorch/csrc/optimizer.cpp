// Operations over a list of parameters at once, which tch has no binding for.
#include <ATen/Context.h>

#include <algorithm>

#include "boundary.h"
#include "profile.h"
#include "row_access.h"

namespace {

// Numbers of one piece: the sums of pieces are added in their order, whatever the number of threads.
constexpr int64_t kPiece = 1 << 16;

struct Piece {
  float* numbers;
  int64_t count;
};

std::vector<Piece> pieces(const std::vector<at::Tensor>& list) {
  std::vector<Piece> all;
  for (const auto& tensor : list) {
    for (int64_t start = 0; start < tensor.numel(); start += kPiece) {
      all.push_back({tensor.data_ptr<float>() + start, std::min(kPiece, tensor.numel() - start)});
    }
  }
  return all;
}

// On the CPU: two passes over memory, one where nothing is clipped.
double clip_on_cpu(const std::vector<at::Tensor>& list, double max_norm) {
  BITNET_PROFILED("bitnet::clip_gradients");
  const auto all = pieces(list);
  std::vector<double> sums(all.size());
  at::parallel_for(0, all.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) sums[index] = rows::sum_of_squares(all[index].numbers, all[index].count);
  });
  double sum = 0;
  for (double one : sums) sum += one;
  const double norm = std::sqrt(sum);
  if (!std::isfinite(norm) || norm <= max_norm) return norm;
  const float factor = static_cast<float>(max_norm / (norm + 1e-6));
  at::parallel_for(0, all.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) rows::scale(all[index].numbers, factor, all[index].count);
  });
  return norm;
}

bool is_plain(const at::Tensor& tensor) { return tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous(); }

// Adds one to each scalar, or nothing where the step is lost. On the CPU libtorch would take a call for each.
void count_up(std::vector<at::Tensor>& counts, const at::Tensor* is_lost) {
  if (is_lost != nullptr) return at::_foreach_add_(counts, 1 - *is_lost);
  if (!std::all_of(counts.begin(), counts.end(), is_plain)) return at::_foreach_add_(counts, 1);
  for (auto& count : counts) *count.data_ptr<float>() += 1.f;
}

}  // namespace

extern "C" {

// One AdamW step (decoupled weight decay) in place. `steps` are float32 scalars, counted up here before the kernel reads them. Nothing moves
// where `is_lost`, a float32 scalar on the parameters' device or null, is 1: a GPU decides this by itself, while the host is elsewhere.
char* bitnet_fused_adamw(at::Tensor* const* parameters, at::Tensor* const* gradients, at::Tensor* const* means,
                         at::Tensor* const* mean_squares, at::Tensor* const* steps, int64_t count, double learning_rate, double beta1,
                         double beta2, double weight_decay, double epsilon, const at::Tensor* is_lost) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    auto counts = tensors(steps, count);
    count_up(counts, is_lost);
    const auto found_inf = is_lost == nullptr ? std::optional<at::Tensor>() : std::optional<at::Tensor>(*is_lost);
    at::_fused_adamw_(tensors(parameters, count), tensors(gradients, count), tensors(means, count), tensors(mean_squares, count),
                      /*max_exp_avg_sqs=*/{}, counts, learning_rate, beta1, beta2, weight_decay, epsilon,
                      /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/{}, found_inf);
    // libtorch does not count this as a write; what is kept of a weight, such as its codes, goes by the count.
    for (int64_t index = 0; index < count; ++index) parameters[index]->unsafeGetTensorImpl()->bump_version();
  });
}

// Numbers too small for a whole mantissa become zero, on this thread and on those that help it. The moments of a weight without gradient
// decay to such numbers, and each costs the processor a hundred times the work.
char* bitnet_flush_denormals() {
  return guarded([&] {
    const int64_t count = at::get_num_threads();
    at::parallel_for(0, count, 1, [](int64_t, int64_t) { at::globalContext().setFlushDenormal(true); });
    at::globalContext().setFlushDenormal(true);
  });
}

// Forgets the gradients: the next backward pass stores its own instead of adding to them.
char* bitnet_drop_gradients(at::Tensor* const* parameters, int64_t count) {
  return guarded([&] {
    for (int64_t index = 0; index < count; ++index) parameters[index]->mutable_grad().reset();
  });
}

// Scales `gradients` in place so that their common 2-norm is at most `max_norm`; writes the norm before. A norm that is not finite
// leaves them untouched.
char* bitnet_clip_gradients(at::Tensor* const* gradients, int64_t count, double max_norm, double* norm) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    auto list = tensors(gradients, count);
    if (std::all_of(list.begin(), list.end(), is_plain)) {
      *norm = clip_on_cpu(list, max_norm);
      return;
    }
    *norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(list, 2)), 2).item<double>();
    if (std::isfinite(*norm) && *norm > max_norm) at::_foreach_mul_(list, at::Scalar(max_norm / (*norm + 1e-6)));
  });
}

// The same without reading the norm: it is a new tensor, float64 `[]`. All numbers are those that the host would compute.
char* bitnet_clip_gradients_late(at::Tensor* const* gradients, int64_t count, double max_norm, at::Tensor** out) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    auto list = tensors(gradients, count);
    if (std::all_of(list.begin(), list.end(), is_plain)) {
      *out = new at::Tensor(at::scalar_tensor(clip_on_cpu(list, max_norm), at::kDouble));
      return;
    }
    const auto norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(list, 2)), 2).to(at::kDouble);
    const auto is_clipped = norm.isfinite().logical_and(norm > max_norm);
    const auto factor = at::where(is_clipped, max_norm / (norm + 1e-6), at::ones_like(norm));
    at::_foreach_mul_(list, factor.to(list.front().scalar_type()));
    *out = new at::Tensor(norm);
  });
}

}  // extern "C"
