// What every differentiable operation of ours is written with.
#pragma once
#include <torch/csrc/autograd/custom_function.h>

#include "boundary.h"
#include "profile.h"

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;
