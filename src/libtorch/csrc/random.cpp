// Random numbers that belong to the thread which asks for them: libtorch's own generator is one for all threads of a process.
#include <ATen/CPUGeneratorImpl.h>

#include "boundary.h"

namespace {

at::Generator& generator() {
  thread_local at::Generator own = at::detail::createCPUGenerator();
  return own;
}

}  // namespace

extern "C" {

char* bitnet_seed(uint64_t seed) {
  return guarded([&] {
    std::lock_guard<std::mutex> lock(generator().mutex());
    generator().set_current_seed(seed);
  });
}

char* bitnet_normal(const int64_t* shape, int64_t dimensions, double deviation, at::Tensor** out) {
  return guarded([&] {
    const at::NoGradGuard no_gradient;
    at::Tensor numbers = at::randn(at::IntArrayRef(shape, dimensions), generator(), at::TensorOptions(at::kFloat));
    *out = new at::Tensor(numbers.mul_(deviation));
  });
}

}  // extern "C"
