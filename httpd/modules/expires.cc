// mod_expires: Expires and Cache-Control: max-age. Source  httpd 2.4 manual, mod_expires
#include <strings.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/http/values.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

struct Rule {
  bool since_modified = false;  ///< M: counted from the file's last change; A: from now
  int64_t seconds = 0;
};

struct ExpiresSettings final : config::ModuleSettings {
  std::optional<bool> active;
  std::optional<Rule> by_default;
  std::map<std::string, Rule> by_type;  ///< "image/png", "image/*"

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const ExpiresSettings&>(other);
    auto out = std::make_unique<ExpiresSettings>(*this);
    if (inner.active) out->active = inner.active;
    if (inner.by_default) out->by_default = inner.by_default;
    for (const auto& [type, rule] : inner.by_type) out->by_type[type] = rule;
    return out;
  }
};

std::optional<int64_t> Number(const std::string& text) {
  if (text.empty() || text.size() > 12 || text.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  return std::stoll(text);
}

/// "A86400", "M3600", or "access plus 1 month 2 days", "modification plus 2 weeks", "now plus ...".
Complaint ParseCode(const std::string& code, Rule& out) {
  if (code.size() > 1 && (code[0] == 'A' || code[0] == 'M') && code[1] >= '0' && code[1] <= '9') {
    const auto seconds = Number(code.substr(1));
    if (!seconds) return "bad expires code, unrecognised number '" + code.substr(1) + "'";
    out = {code[0] == 'M', *seconds};
    return std::nullopt;
  }
  std::istringstream words(code);
  std::string word;
  words >> word;
  const std::string base = config::LowerCase(word);
  if (base == "modification") {
    out.since_modified = true;
  } else if (base != "now" && base != "access") {
    return "bad expires code, unrecognised <base> '" + word + "'";
  }
  static const std::pair<const char*, int64_t> kUnits[] = {{"year", int64_t{86400} * 365},
                                                           {"month", int64_t{86400} * 30},
                                                           {"week", int64_t{86400} * 7},
                                                           {"day", 86400},
                                                           {"hour", 3600},
                                                           {"minute", 60},
                                                           {"second", 1}};
  bool is_first = true;
  out.seconds = 0;
  while (words >> word) {
    if (is_first && config::SameIgnoringCase(word, "plus")) {
      is_first = false;
      if (!(words >> word)) break;
    }
    is_first = false;
    const auto number = Number(word);
    if (!number) return "bad expires code, numeric value expected <num> '" + word + "'";
    std::string unit;
    if (!(words >> unit)) return "bad expires code, missing <type>";
    std::string singular = config::LowerCase(unit);
    if (singular.ends_with('s')) singular.pop_back();
    const auto known =
        std::find_if(std::begin(kUnits), std::end(kUnits), [&](const auto& entry) { return singular == entry.first; });
    if (known == std::end(kUnits)) return "bad expires code, unrecognised <type> '" + unit + "'";
    out.seconds += *number * known->second;
  }
  return std::nullopt;
}

Complaint SetActive(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  const bool on = config::SameIgnoringCase(words[0], "on");
  if (!on && !config::SameIgnoringCase(words[0], "off")) return node.name + " must be On or Off";
  config::SettingsOf<ExpiresSettings>(scope).active = on;
  return std::nullopt;
}

Complaint SetDefault(config::Builder&, Scope& scope, const Node&, const Words& words) {
  Rule rule;
  if (auto complaint = ParseCode(words[0], rule)) return "'ExpiresDefault " + words[0] + "': " + *complaint;
  config::SettingsOf<ExpiresSettings>(scope).by_default = rule;
  return std::nullopt;
}

Complaint SetByType(config::Builder&, Scope& scope, const Node&, const Words& words) {
  Rule rule;
  if (auto complaint = ParseCode(words[1], rule)) {
    return "'ExpiresByType " + words[0] + " " + words[1] + "': " + *complaint;
  }
  config::SettingsOf<ExpiresSettings>(scope).by_type[config::LowerCase(words[0])] = rule;
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  constexpr unsigned kAnywhere = config::kAnywhere | config::kOverrideIndexes;
  static constexpr char kModule[] = "mod_expires.c";
  static const std::vector<config::Directive> table = {
      {"ExpiresActive", kModule, kAnywhere, Arity::kFlag, "Limited to 'on' or 'off'", config::OnRead::kNo, SetActive},
      {"ExpiresDefault", kModule, kAnywhere, Arity::kOne, "an expiry date code", config::OnRead::kNo, SetDefault},
      {"ExpiresByType", kModule, kAnywhere, Arity::kTwo, "the MIME type followed by an expiry date code",
       config::OnRead::kNo, SetByType},
  };
  return table;
}

const Rule* RuleFor(const ExpiresSettings& settings, std::string_view media_type) {
  if (!media_type.empty()) {
    const std::string type = config::LowerCase(std::string(media_type));
    if (const auto exact = settings.by_type.find(type); exact != settings.by_type.end()) return &exact->second;
    const auto major = settings.by_type.find(type.substr(0, type.find('/')) + "/*");
    if (major != settings.by_type.end()) return &major->second;
  }
  return settings.by_default ? &*settings.by_default : nullptr;
}

/// Not for errors, and not over what was set before: Apache leaves an Expires of the answer alone.
void Output(RequestState& state) {
  const auto* settings = SettingsFor<ExpiresSettings>(state);
  if (!settings || !settings->active.value_or(false) || state.response->status >= 400) return;
  std::string& fields = state.response->fields;
  if (FindField(fields, "Expires").data() != nullptr) return;
  const Rule* rule = RuleFor(*settings, state.media_type);
  if (!rule) return;
  const auto now = std::chrono::system_clock::to_time_t(state.request->start);
  int64_t base = now;
  if (rule->since_modified) {
    const auto modified = http::ParseDate(FindField(fields, "Last-Modified"));
    if (!modified) return;  // Apache: nothing can be said of an answer that is no file
    base = *modified;
  }
  const int64_t expires = base + rule->seconds;
  const std::string max_age = "max-age=" + std::to_string(std::max<int64_t>(0, expires - now));
  const std::string before(FindField(fields, "Cache-Control"));
  RemoveField(fields, "Cache-Control");
  AppendField(fields, "Cache-Control", before.empty() ? max_age : before + ", " + max_age);
  AppendField(fields, "Expires", http::FormatDate(static_cast<std::time_t>(expires)));
}

void Repeats(const RequestState& state, Dependencies& on) {
  if (SettingsFor<ExpiresSettings>(state)->active.value_or(false)) on.OnTime();
}

}  // namespace

const Module kExpires = {.name = {"mod_expires.c", "expires_module"},
                         .directives = Directives,
                         .applies = HasSettings<ExpiresSettings>,
                         .output = Output,
                         .repeats = Repeats};

}  // namespace httpd::modules
