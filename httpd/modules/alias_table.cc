#include "httpd/modules/alias_table.h"

#include <algorithm>
#include <utility>

#include "httpd/modules/module.h"

namespace httpd::modules {

namespace {

/// Length of the beginning of `path` that has `single` bytes once its slashes are single. A slash at its end takes all
/// those that follow it along.
size_t OriginalLength(const std::string& path, size_t single) {
  size_t at = 0;
  for (size_t n = 0; n < single; ++n) {
    if (path[at++] != '/') continue;
    while (at < path.size() && path[at] == '/') ++at;
  }
  return at;
}

}  // namespace

std::string WithSingleSlashes(std::string path) {
  path.erase(std::unique(path.begin(), path.end(), [](char a, char b) { return a == '/' && b == '/'; }), path.end());
  return path;
}

void AliasTable::Add(AliasRule rule, std::string_view pattern) {
  const size_t order = rules_.size();
  if (rule.regex) {
    patterns_.Add(order, LiteralPrefix(pattern));
    has_patterns_ = true;
  } else {
    std::string key = WithSingleSlashes(rule.from);
    longest_ = std::max(longest_, key.size());
    prefixes_.try_emplace(std::move(key), order);
  }
  rules_.push_back(std::make_shared<const AliasRule>(std::move(rule)));
}

AliasTable::Match AliasTable::Find(const std::string& path, bool* gave_up) const {
  Match match;
  match.order = rules_.size();
  const bool has_runs = path.find("//") != std::string::npos;
  const std::string single = has_runs ? WithSingleSlashes(path) : "";
  const std::string_view text = has_runs ? single : path;
  size_t length = 0;
  const auto look = [&](size_t size) {
    ++match.looked_at;
    const auto found = prefixes_.find(text.substr(0, size));
    if (found == prefixes_.end() || found->second >= match.order) return;
    match.order = found->second;
    length = size;
  };
  if (!prefixes_.empty()) {
    for (size_t at = 0; at < text.size() && at <= longest_; ++at) {
      if (text[at] != '/') continue;
      if (at > 0) look(at);
      if (at + 1 < text.size()) look(at + 1);
    }
    if (text.size() <= longest_) look(text.size());
  }
  bool reached_limits = false;
  if (has_patterns_) {
    PrefixIndex::Candidates candidates;
    patterns_.Find(path, candidates);
    for (size_t order = candidates.Next(0); order < match.order; order = candidates.Next(order + 1)) {
      ++match.looked_at;
      if (!Finds(reached_limits, *rules_[order]->regex, path, &match.groups)) continue;
      match.order = order;
      break;
    }
  }
  if (gave_up && reached_limits) *gave_up = true;
  if (match.order == rules_.size()) return match;
  match.rule = rules_[match.order].get();
  if (!match.rule->regex) match.length = has_runs ? OriginalLength(path, length) : length;
  return match;
}

const AliasRule* AliasTable::Covering(const std::string& prefix) const {
  return Find(prefix).rule;
}

}  // namespace httpd::modules
