// What an NVIDIA GPU tells of itself through c10, whose interface to devices needs no header of CUDA.
#include <c10/core/CachingDeviceAllocator.h>

#include "boundary.h"

extern "C" {

// The most memory of CUDA device `index` that tensors had, and that libtorch held for them.
char* bitnet_cuda_peak_memory(int64_t index, int64_t* of_tensors, int64_t* held) {
  return guarded([&] {
    const auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(index));
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    *of_tensors = stats.allocated_bytes[kAll].peak;
    *held = stats.reserved_bytes[kAll].peak;
  });
}

}  // extern "C"
