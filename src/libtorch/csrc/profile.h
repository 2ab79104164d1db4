// Names a piece of our own C++ for the profiler of profile.cpp, from here to the end of the enclosing block, as libtorch names its own
// operators. While nobody profiles it costs a look at a thread-local flag.
//
//   BITNET_PROFILED("bitnet::quantize_weights");
#pragma once
#include <ATen/record_function.h>

#define BITNET_PROFILED(name) RECORD_USER_SCOPE(name)
