// RewriteMap, and what the merging of settings means. Source  httpd 2.4 manual, rewrite/rewritemap.html
#include <algorithm>

#include "httpd/http/ascii.h"
#include "httpd/modules/rewrite.h"
#include "httpd/modules/stat_file.h"
#include "os/file.h"

namespace httpd::modules::rewrite {

MapFile::Answer MapFile::Find(const std::string& key) const {
  struct stat now {};
  if (::stat(path_.c_str(), &now) != 0) {
    return {std::nullopt, "AH00661: mod_rewrite: can't access text RewriteMap file " + path_};
  }
  std::shared_ptr<const Table> table;
  {
    const std::lock_guard lock(mutex_);
    if (!table_ || !IsSameFile(now, seen_)) {
      const auto text = os::ReadFile(path_);
      if (!text) return {std::nullopt, "AH00655: mod_rewrite: can't open text RewriteMap file " + path_};
      auto fresh = std::make_shared<Table>();
      std::string_view rest = text.value();
      while (!rest.empty()) {
        const size_t end = std::min(rest.find('\n'), rest.size());
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (line.empty() || line.front() == '#' || http::IsSpace(line.front())) continue;
        const auto key_end = std::find_if(line.begin(), line.end(), http::IsSpace);
        const auto value_begin = std::find_if_not(key_end, line.end(), http::IsSpace);
        const auto value_end = std::find_if(value_begin, line.end(), http::IsSpace);
        if (value_begin != value_end) {
          fresh->try_emplace(std::string(line.begin(), key_end),
                             std::string(value_begin, value_end));  // the first wins
        }
      }
      table_ = std::move(fresh);
      seen_ = now;
    }
    table = table_;
  }
  const auto found = table->find(key);
  if (found == table->end()) return {};
  return {found->second, ""};
}

void Rules::Append(std::shared_ptr<const Rule> rule) {
  list_.push_back(std::move(rule));
  lazy_ = std::make_shared<Lazy>();
}

void Rules::Append(const Rules& rules) {
  list_.insert(list_.end(), rules.list_.begin(), rules.list_.end());
  lazy_ = std::make_shared<Lazy>();
}

void Rules::Prepend(const Rules& rules) {
  list_.insert(list_.begin(), rules.list_.begin(), rules.list_.end());
  lazy_ = std::make_shared<Lazy>();
}

const PrefixIndex& Rules::ByPrefix() const {
  std::call_once(lazy_->once, [this] {
    for (size_t i = 0; i < list_.size(); ++i) {
      if (!IsReached(i)) continue;
      const Rule& rule = *list_[i];
      // For a look-up that must not use the first rule of a chain, the second one is not chained to anything.
      const bool may_be_left_out = rule.Has(Rule::kNoSubrequest) || rule.Has(Rule::kRedirect);
      const bool is_sure = !rule.negated && !(rule.Has(Rule::kChain) && may_be_left_out);
      lazy_->by_prefix.Add(i, is_sure ? LiteralPrefix(rule.pattern) : "",
                           rule.Has(Rule::kNoCase) ? PrefixIndex::Case::kIgnored : PrefixIndex::Case::kCounts);
    }
  });
  return lazy_->by_prefix;
}

void Told::Inherit(const Told& outer) {
  const unsigned inner_options = options.value_or(0);
  const unsigned outer_options = outer.options.value_or(0);
  const bool is_open = (inner_options & kIgnoreInherit) == 0;
  if (!engine) engine = outer.engine;
  if (!options) options = outer.options;
  if ((inner_options & kInherit) != 0 || ((outer_options & kInheritDown) != 0 && is_open)) {
    rules.Append(outer.rules);
  } else if ((inner_options & kInheritBefore) != 0 || ((outer_options & kInheritDownBefore) != 0 && is_open)) {
    rules.Prepend(outer.rules);
  }
}

std::unique_ptr<config::ModuleSettings> ServerSettings::MergedWith(const ModuleSettings& other) const {
  auto out = std::make_unique<ServerSettings>(static_cast<const ServerSettings&>(other));
  const size_t own = out->told.rules.size();
  out->told.Inherit(told);
  const unsigned inner = static_cast<const ServerSettings&>(other).told.options.value_or(0);
  const bool inherits =
      (inner & (kInherit | kInheritBefore)) != 0 ||
      ((told.options.value_or(0) & (kInheritDown | kInheritDownBefore)) != 0 && (inner & kIgnoreInherit) == 0);
  if (inherits || out->told.rules.size() != own) out->maps.insert(maps.begin(), maps.end());
  return out;
}

std::unique_ptr<config::ModuleSettings> DirectorySettings::MergedWith(const ModuleSettings& other) const {
  auto out = std::make_unique<DirectorySettings>(static_cast<const DirectorySettings&>(other));
  out->told.Inherit(told);
  if (!out->base && out->told.Has(kMergeBase)) out->base = base;
  return out;
}

}  // namespace httpd::modules::rewrite
