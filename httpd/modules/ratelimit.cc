// mod_ratelimit: the filter RATE_LIMIT. Source  httpd 2.4 manual, mod_ratelimit
#include <charconv>
#include <string>

#include "httpd/modules/filters.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

constexpr uint64_t kMost = 1ULL << 40;  // KiB/s; what is more is no limit

const std::vector<config::Directive>& Directives() {
  static const std::vector<config::Directive> table;
  return table;
}

/// KiB of a variable in bytes, digits up to the first other byte as in Apache; 0 = none, or no sensible number.
uint64_t BytesOf(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error != std::errc() || value > kMost ? 0 : value << 10;
}

bool HasLimit(const RequestState& state, const FilterView&) {
  return state.environment.Find("rate-limit") != nullptr;
}

void SetLimit(RequestState& state) {
  auto complain = [&state](std::string text) {
    state.engine->LogError(state, config::LogLevel::kInfo, "ratelimit", std::move(text));
  };
  const std::string& limit = *state.environment.Find("rate-limit");
  state.response->rate_limit = BytesOf(limit);
  if (state.response->rate_limit == 0) {
    complain("AH03488: rl: disabling: rate-limit = " + limit + " (too high?)");
    return;
  }
  const std::string* burst = state.environment.Find("rate-initial-burst");
  if (!burst) return;
  state.response->rate_burst = BytesOf(*burst);
  if (state.response->rate_burst == 0) {
    complain("AH03489: rl: disabling burst: rate-initial-burst = " + *burst + " (too high?)");
  }
}

}  // namespace

const OutputFilter kRateLimitFilter = {.name = "RATE_LIMIT",
                                       .type = FilterType::kConnection,
                                       .changes_content = false,
                                       .applies = HasLimit,
                                       .prepare = SetLimit};

const Module kRateLimit = {.name = {"mod_ratelimit.c", "ratelimit_module"},
                           .directives = Directives,
                           .applies = [](const config::ModuleSlots&) { return false; }};

}  // namespace httpd::modules
