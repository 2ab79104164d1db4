// The border between libtorch and Rust: tensors come as pointers, exceptions leave as a message that the caller frees.
#pragma once
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <vector>

// Said once where there is no memory left even to copy what() into.
inline std::atomic<char*> last_words{strdup("out of memory")};

// A copy in memory of malloc. Never null, which would mean that all went well.
inline char* message(const char* text) {
  if (char* copy = strdup(text)) return copy;
  if (char* reserved = last_words.exchange(nullptr)) return reserved;
  std::abort();
}

// Runs `body`; null when it succeeded, else what() of the exception in memory of malloc.
template <typename Body>
char* guarded(Body body) {
  try {
    body();
    return nullptr;
  } catch (const std::bad_alloc&) {
    return message("out of memory");
  } catch (const std::exception& error) {
    return message(error.what());
  } catch (...) {
    return message("an exception that is no std::exception");
  }
}

// The tensors behind `count` pointers; each shares its storage with the caller's.
inline std::vector<at::Tensor> tensors(at::Tensor* const* pointers, int64_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (int64_t index = 0; index < count; ++index) list.push_back(*pointers[index]);
  return list;
}
