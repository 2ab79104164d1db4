// Operations over a list of parameters at once, which tch has no binding for.
#include "boundary.h"

extern "C" {

// One AdamW step (decoupled weight decay) in place. `steps` are float32 scalars, counted up here before the kernel reads them.
char* bitnet_fused_adamw(at::Tensor* const* parameters, at::Tensor* const* gradients, at::Tensor* const* means,
                         at::Tensor* const* mean_squares, at::Tensor* const* steps, int64_t count, double learning_rate, double beta1,
                         double beta2, double weight_decay, double epsilon) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    auto counts = tensors(steps, count);
    at::_foreach_add_(counts, 1);
    at::_fused_adamw_(tensors(parameters, count), tensors(gradients, count), tensors(means, count), tensors(mean_squares, count),
                      /*max_exp_avg_sqs=*/{}, counts, learning_rate, beta1, beta2, weight_decay, epsilon,
                      /*amsgrad=*/false, /*maximize=*/false);
    // libtorch does not count this as a write; what is kept of a weight, such as its codes, goes by the count.
    for (int64_t index = 0; index < count; ++index) parameters[index]->unsafeGetTensorImpl()->bump_version();
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
    *norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(list, 2)), 2).item<double>();
    if (std::isfinite(*norm) && *norm > max_norm) at::_foreach_mul_(list, at::Scalar(max_norm / (*norm + 1e-6)));
  });
}

}  // extern "C"
