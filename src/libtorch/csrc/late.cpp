// Numbers of a device that are read later, and tensors that are sent to one, so that the host need not wait for it. Streams and events are
// those of c10, which every device brings along: no header of CUDA is needed.
#include <ATen/Context.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <memory>
#include <optional>

#include "boundary.h"

namespace {

// What was asked for, on the host once the event has happened.
struct Late {
  at::Tensor numbers;
  std::optional<c10::Event> copied;
};

}  // namespace

extern "C" {

// Begins to copy `numbers`, float64 `[count]`, to the host, behind all that their device was told before.
char* bitnet_late(const at::Tensor* numbers, Late** out) {
  return guarded([&] {
    const at::NoGradGuard no_gradient;
    TORCH_CHECK(numbers->scalar_type() == at::kDouble && numbers->dim() == 1, "late numbers are a list of float64");
    auto late = std::make_unique<Late>();
    if (numbers->device().is_cpu()) {
      late->numbers = numbers->contiguous();
    } else {
      // Only into memory that the system cannot move does a copy go on by itself.
      late->numbers = at::empty(numbers->sizes(), at::TensorOptions(at::kDouble).pinned_memory(true));
      late->numbers.copy_(*numbers, /*non_blocking=*/true);
      const c10::impl::VirtualGuardImpl device(numbers->device().type());
      late->copied.emplace(numbers->device().type());
      late->copied->record(device.getStream(numbers->device()));
    }
    *out = late.release();
  });
}

// Waits for them and no longer; writes `count` numbers.
char* bitnet_late_read(const Late* late, double* numbers, int64_t count) {
  return guarded([&] {
    TORCH_CHECK(late->numbers.numel() == count, "there are ", late->numbers.numel(), " late numbers, not ", count);
    if (late->copied) late->copied->synchronize();
    std::copy_n(late->numbers.data_ptr<double>(), count, numbers);
  });
}

void bitnet_late_drop(Late* late) { delete late; }

// `tensor` on the CUDA device `index`; returns before it is there, and what is told to the device afterwards finds it.
char* bitnet_send_to_cuda(const at::Tensor* tensor, int64_t index, at::Tensor** out) {
  return guarded([&] {
    const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(index));
    *out = new at::Tensor(tensor->pin_memory().to(device, /*non_blocking=*/true));
  });
}

}  // extern "C"
