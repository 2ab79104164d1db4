// A differentiable operation that keeps nothing but its input: the backward pass computes it a second time.
#include <torch/csrc/autograd/autograd.h>
#include <torch/custom_class.h>

#include "autograd.h"

namespace {

// What is computed twice: a function of the caller, with the state that it needs.
struct Body : torch::CustomClassHolder {
  using Compute = char* (*)(void* state, const at::Tensor* input, at::Tensor** out);

  Body(Compute compute, void (*drop)(void*), void* state) : compute(compute), drop(drop), state(state) {}
  ~Body() override { drop(state); }

  at::Tensor operator()(const at::Tensor& input) const {
    at::Tensor* out = nullptr;
    if (char* message = compute(state, &input, &out)) {
      const std::string text = message;
      std::free(message);
      throw std::runtime_error(text);
    }
    if (out == nullptr) throw std::bad_alloc();  // there was no memory for a message
    const at::Tensor result = *out;
    delete out;
    return result;
  }

  Compute compute;
  void (*drop)(void*);
  void* state;
};

struct Checkpoint : Function<Checkpoint> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const c10::intrusive_ptr<Body>& body) {
    context->save_for_backward({input});
    context->saved_data["body"] = c10::IValue::make_capsule(body);
    return (*body)(input);
  }

  // The parameters that the body reads get their gradients from the inner pass, as leaves do.
  static variable_list backward(AutogradContext* context, variable_list arriving) {
    BITNET_PROFILED("bitnet::recompute");
    const auto capsule = context->saved_data["body"].toCapsule();
    const auto input = context->get_saved_variables()[0].detach().requires_grad_(true);
    {
      at::AutoGradMode with_gradients(true);
      torch::autograd::backward({static_cast<const Body&>(*capsule)(input)}, {arriving[0]});
    }
    return {input.grad(), Variable()};
  }
};

}  // namespace

extern "C" {

// out = compute(state, input), whose graph is not kept. `state` is dropped when nothing needs it any more, and also after an error.
char* bitnet_checkpointed(const at::Tensor* input, Body::Compute compute, void (*drop)(void*), void* state, at::Tensor** out) {
  const auto body = c10::make_intrusive<Body>(compute, drop, state);
  return guarded([&] { *out = new at::Tensor(Checkpoint::apply(*input, body)); });
}

}  // extern "C"
