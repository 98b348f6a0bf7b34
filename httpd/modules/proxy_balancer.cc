#include "httpd/modules/proxy_balancer.h"

#include <algorithm>
#include <set>

#include "httpd/http/ascii.h"

namespace httpd::modules::proxy {

namespace {

int64_t Get(const std::atomic<int64_t>& number) {
  return number.load(std::memory_order_relaxed);
}

/// Less is better; ties go to who was elected less often.
bool IsLessLoaded(const Balancer& balancer, const Worker& a, const Worker& b) {
  const auto load = [&balancer](const Worker& worker) {
    const WorkerShared& shared = *worker.shared;
    const int64_t amount =
        balancer.method == BalanceMethod::kTraffic ? Get(shared.transferred) + Get(shared.read) : Get(shared.busy);
    return static_cast<double>(amount) / worker.load_factor;
  };
  const double x = load(a);
  const double y = load(b);
  if (x != y) return x < y;
  return static_cast<double>(Get(a.shared->elected)) / a.load_factor <
         static_cast<double>(Get(b.shared->elected)) / b.load_factor;
}

/// Source  mod_lbmethod_byrequests: everybody gets their share, who has the most pays for all.
std::shared_ptr<Worker> ByRequests(const std::vector<std::shared_ptr<Worker>>& usable) {
  int64_t total = 0;
  int64_t most = 0;
  std::shared_ptr<Worker> best;
  for (const auto& worker : usable) {
    const int64_t has =
        worker->shared->balance.fetch_add(worker->load_factor, std::memory_order_relaxed) + worker->load_factor;
    total += worker->load_factor;
    if (best && has <= most) continue;
    most = has;
    best = worker;
  }
  if (best) best->shared->balance.fetch_sub(total, std::memory_order_relaxed);
  return best;
}

std::shared_ptr<Worker> Best(const Balancer& balancer, const std::vector<std::shared_ptr<Worker>>& usable) {
  if (usable.empty()) return nullptr;
  if (balancer.method == BalanceMethod::kRequests) return ByRequests(usable);
  return *std::min_element(usable.begin(), usable.end(),
                           [&balancer](const auto& a, const auto& b) { return IsLessLoaded(balancer, *a, *b); });
}

std::string_view Unquoted(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
  return value;
}

/// Value of `name=` in a list whose items end at one of `ends`; data() == nullptr: it is not there.
std::string_view ValueIn(std::string_view list, std::string_view name, std::string_view begins, std::string_view ends) {
  for (size_t at = 0; !name.empty() && (at = list.find(name, at)) != std::string_view::npos; ++at) {
    const size_t equals = at + name.size();
    if (equals >= list.size() || list[equals] != '=') continue;
    if (at != 0 && begins.find(list[at - 1]) == std::string_view::npos) continue;
    return list.substr(equals + 1, std::min(list.find_first_of(ends, equals + 1), list.size()) - equals - 1);
  }
  return {};
}

}  // namespace

Session FindSession(const Balancer& balancer, std::string_view url, std::string_view cookies) {
  Session out;
  if (balancer.sticky_cookie.empty()) return out;
  std::string_view value;
  const size_t question = std::min(url.find('?'), url.size());
  if (question < url.size()) value = ValueIn(url.substr(question + 1), balancer.sticky_parameter, "&;", "&;");
  if (value.empty() && balancer.semicolon_delimits) {
    value = ValueIn(url.substr(0, question), balancer.sticky_parameter, ";", ";/?");
  }
  if (value.empty()) {
    value = Unquoted(ValueIn(cookies, balancer.sticky_cookie, " \t;,", ";,"));
    out.is_cookie = !value.empty();
  }
  out.id = value;
  if (balancer.sticky_separator == '\0') {
    out.route = value;
  } else if (const size_t separator = value.rfind(balancer.sticky_separator); separator != std::string_view::npos) {
    out.route = value.substr(separator + 1);
  }
  return out;
}

bool IsUsable(const Worker& worker, int64_t now_ms) {
  if ((worker.status & (kDisabled | kStopped | kInError)) != 0) return false;
  const int64_t failed = Get(worker.shared->failed_ms);
  return failed == 0 || (worker.status & kIgnoreErrors) != 0 || now_ms - failed >= worker.retry_ms;
}

Choice Choose(const Balancer& balancer, const Session& session, const std::vector<const Worker*>& tried,
              int64_t now_ms) {
  Choice out;
  const auto was_tried = [&tried](const Worker* worker) {
    return std::find(tried.begin(), tried.end(), worker) != tried.end();
  };
  const auto is_candidate = [&](const Worker& worker, bool recovers) {
    if (was_tried(&worker)) return false;
    return IsUsable(worker, now_ms) || (recovers && (worker.status & (kDisabled | kStopped | kInError)) == 0);
  };
  const auto with_route = [&](const std::string& route) -> std::shared_ptr<Worker> {
    const auto found = std::find_if(balancer.members.begin(), balancer.members.end(), [&](const auto& worker) {
      return worker->route == route && !worker->route.empty();
    });
    return found == balancer.members.end() ? nullptr : *found;
  };
  const auto elect = [&out](std::shared_ptr<Worker> worker) {
    if (worker) worker->shared->elected.fetch_add(1, std::memory_order_relaxed);
    out.worker = std::move(worker);
    return out;
  };
  if (!session.route.empty()) {
    std::shared_ptr<Worker> bound = with_route(session.route);
    if (bound && !is_candidate(*bound, false) && !bound->redirect.empty()) {
      if (auto other = with_route(bound->redirect)) bound = other;
    }
    if (bound && is_candidate(*bound, false)) {
      out.is_by_route = true;
      out.is_bound = balancer.no_failover;
      return elect(std::move(bound));
    }
    if (bound && balancer.no_failover) {
      out.is_bound = true;
      return out;
    }
  }
  std::set<int> sets;
  for (const auto& worker : balancer.members) sets.insert(worker->set);
  // All in error, and nobody has tried any of them for this request: better one of them than a refusal.
  const bool is_any_usable = std::any_of(balancer.members.begin(), balancer.members.end(),
                                         [&](const auto& worker) { return IsUsable(*worker, now_ms); });
  const bool recovers = balancer.force_recovery && !is_any_usable && tried.empty();
  for (const int set : sets) {
    for (const unsigned spares : {0U, static_cast<unsigned>(kHotSpare), static_cast<unsigned>(kHotStandby)}) {
      std::vector<std::shared_ptr<Worker>> usable;
      for (const auto& worker : balancer.members) {
        const bool is_drained = (worker->status & kDrained) != 0;  // for those with its route only
        if (worker->set != set || is_drained || (worker->status & (kHotSpare | kHotStandby)) != spares) continue;
        if (is_candidate(*worker, recovers)) usable.push_back(worker);
      }
      if (auto best = Best(balancer, usable)) return elect(std::move(best));
    }
  }
  return out;
}

}  // namespace httpd::modules::proxy
