// The border between libtorch and Rust: tensors come as pointers, exceptions leave as a message that the caller frees.
#pragma once
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

// Runs `body`; null when it succeeded, else what() of the exception in memory of malloc.
template <typename Body>
char* guarded(Body body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception that is no std::exception");
  }
}

// The tensors behind `count` pointers; each shares its storage with the caller's.
inline std::vector<at::Tensor> tensors(at::Tensor* const* pointers, int64_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (int64_t index = 0; index < count; ++index) list.push_back(*pointers[index]);
  return list;
}
