// mod_unique_id: UNIQUE_ID, and the same in %L. Source  httpd 2.4 manual, mod_unique_id
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

#include "httpd/modules/answer_cache.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

/// Second, a random number of the process, a count and a thread's number: 18 bytes, as Apache's, in 24 characters of
/// base64 that may stand in a URL (@ and - instead of + and /).
std::string NewUniqueId() {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@-";
  static std::atomic<uint32_t> count{0};
  static thread_local pid_t random_of = 0;
  static thread_local std::array<uint8_t, 10> random{};
  if (random_of != ::getpid()) {  // every child and every loop has its own
    size_t done = 0;
    while (done < random.size()) {
      const ssize_t n = ::getrandom(random.data() + done, random.size() - done, 0);
      if (n > 0) done += static_cast<size_t>(n);
    }
    random_of = ::getpid();
  }
  std::array<uint8_t, 18> bytes{};
  const auto put = [&bytes](size_t at, uint32_t value) {
    for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (24 - 8 * i));
  };
  put(0, static_cast<uint32_t>(::time(nullptr)));
  std::copy(random.begin(), random.end(), bytes.begin() + 4);
  put(14, count.fetch_add(1, std::memory_order_relaxed));
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const uint32_t three =
        static_cast<uint32_t>(bytes[i]) << 16 | static_cast<uint32_t>(bytes[i + 1]) << 8 | bytes[i + 2];
    for (int shift = 18; shift >= 0; shift -= 6) out += kDigits[three >> static_cast<unsigned>(shift) & 63];
  }
  return out;
}

/// The identifier stays that of the request, whatever it is redirected to.
void Early(RequestState& state) {
  if (!state.engine->site().config().makes_unique_ids) return;
  if (state.request_id.empty()) state.request_id = NewUniqueId();
  state.environment.Set("UNIQUE_ID", state.request_id);
}

void Repeats(const RequestState& state, Dependencies& on) {
  if (state.engine->site().config().makes_unique_ids) on.OnMore();
}

}  // namespace

const Module kUniqueId = {
    .name = {"mod_unique_id.c", "unique_id_module"}, .always = true, .early = Early, .repeats = Repeats};

}  // namespace httpd::modules
