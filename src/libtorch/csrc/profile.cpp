// Where the time of a step goes: the self time of every operator, which is its own time without that of the operators it calls.
#include <ATen/record_function.h>

#include <chrono>
#include <mutex>
#include <string>
#include <unordered_map>

#include "boundary.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Total {
  Clock::duration self{0};
  uint64_t calls = 0;
};

// An operator that has not returned yet.
struct Call {
  Clock::time_point start;
  Clock::duration in_callees{0};
};

std::mutex guard;
std::unordered_map<std::string, Total> totals;
at::CallbackHandle handle = at::INVALID_CALLBACK_HANDLE;
thread_local std::vector<Call> calls;

std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction&) {
  calls.push_back({Clock::now()});
  return nullptr;
}

void leave(const at::RecordFunction& function, at::ObserverContext*) {
  if (calls.empty()) return;  // it began before the profiler did
  auto took = Clock::now() - calls.back().start;
  auto self = took - calls.back().in_callees;
  calls.pop_back();
  if (!calls.empty()) calls.back().in_callees += took;
  std::lock_guard<std::mutex> lock(guard);
  auto& total = totals[function.name()];
  total.self += self;
  ++total.calls;
}

}  // namespace

extern "C" {

// Begins anew to sum the time of every operator, of every thread.
char* bitnet_profile_start() {
  return guarded([] {
    std::lock_guard<std::mutex> lock(guard);
    TORCH_CHECK(handle == at::INVALID_CALLBACK_HANDLE, "a profile is being taken already");
    totals.clear();
    auto scopes = {at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION, at::RecordScope::USER_SCOPE};
    handle = at::addGlobalCallback(at::RecordFunctionCallback(enter, leave).scopes(scopes));
  });
}

// Ends what bitnet_profile_start began and hands each operator to `take`: its name, its self time in nanoseconds, its calls.
char* bitnet_profile_stop(void* into, void (*take)(void* into, const char* name, uint64_t nanoseconds, uint64_t calls)) {
  return guarded([&] {
    std::lock_guard<std::mutex> lock(guard);
    TORCH_CHECK(handle != at::INVALID_CALLBACK_HANDLE, "no profile is being taken");
    at::removeCallback(handle);
    handle = at::INVALID_CALLBACK_HANDLE;
    for (const auto& [name, total] : totals) {
      take(into, name.c_str(), std::chrono::duration_cast<std::chrono::nanoseconds>(total.self).count(), total.calls);
    }
  });
}

}  // extern "C"
