// mod_filter's directives and SetOutputFilter. Source  httpd 2.4 manual, mod_filter, core
#include <algorithm>
#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/filter_settings.h"
#include "httpd/modules/filters.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

/// Pieces of `text` between any of `separators`; empty ones are left out.
Words Split(std::string_view text, std::string_view separators) {
  Words out;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(separators), text.size());
    if (end > 0) out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

SmartFilter& Declared(FilterSettings& settings, const std::string& name) {
  SmartFilter& filter = settings.declared[config::LowerCase(name)];
  if (filter.name.empty()) filter.name = name;
  return filter;
}

SmartFilter* FindDeclared(FilterSettings& settings, const std::string& name) {
  const auto found = settings.declared.find(config::LowerCase(name));
  return found == settings.declared.end() ? nullptr : &found->second;
}

Complaint SetOutputFilter(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  if (auto complaint = CheckOutputFilters(node.name, words[0])) return complaint;
  std::vector<const OutputFilter*> filters;
  for (const std::string& name : Split(words[0], ";")) filters.push_back(FindOutputFilter(name));
  config::SettingsOf<FilterSettings>(scope).output = std::move(filters);
  return std::nullopt;
}

Complaint SetInputFilter(config::Builder&, Scope&, const Node& node, const Words&) {
  return node.name + ": request bodies cannot be filtered by this server";
}

Complaint FilterDeclare(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  static const std::pair<const char*, FilterType> kTypes[] = {
      {"RESOURCE", FilterType::kResource},     {"CONTENT_SET", FilterType::kContentSet},
      {"PROTOCOL", FilterType::kProtocol},     {"TRANSCODE", FilterType::kTranscode},
      {"CONNECTION", FilterType::kConnection}, {"NETWORK", FilterType::kNetwork}};
  SmartFilter filter;
  filter.name = words[0];
  if (words.size() > 1) {
    for (const auto& [name, type] : kTypes) {
      if (config::SameIgnoringCase(words[1], name)) filter.type = type;
    }
    if (!filter.type) {
      return node.name + ": \"" + words[1] +
             "\" is not RESOURCE, CONTENT_SET, PROTOCOL, TRANSCODE, CONNECTION or NETWORK";
    }
  }
  config::SettingsOf<FilterSettings>(scope).declared[config::LowerCase(words[0])] = std::move(filter);
  return std::nullopt;
}

Complaint AddProvider(Scope& scope, const Node& node, const Words& words) {
  FilterProvider provider;
  provider.filter = FindOutputFilter(words[1]);
  if (!provider.filter) return "Unknown filter provider " + words[1];
  auto compiled =
      Expression::Compile(words[2], ExpressionKind::kCondition,
                          scope.htaccess ? ExpressionFiles::kRefused : ExpressionFiles::kAllowed, node.where);
  if (!compiled) return "Error parsing FilterProvider expression:" + compiled.error().what;
  provider.expression = std::move(compiled).value();
  // The last one that was named is asked first, as in Apache.
  auto& providers = Declared(config::SettingsOf<FilterSettings>(scope), words[0]).providers;
  providers.insert(providers.begin(), std::move(provider));
  return std::nullopt;
}

Complaint FilterProviderDirective(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  return AddProvider(scope, node, words);
}

Complaint FilterChain(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  auto& settings = config::SettingsOf<FilterSettings>(scope);
  for (const std::string& word : words) {
    FilterSettings::Step step;
    const bool has_action = std::string_view("+-=!@").find(word[0]) != std::string_view::npos;
    step.action = has_action ? word[0] : '+';
    step.name = config::LowerCase(has_action ? word.substr(1) : word);
    if (step.name.empty() && step.action != '!') {
      return node.name + ": " + word + " lacks the name of a filter";
    }
    settings.Take(std::move(step));
  }
  return std::nullopt;
}

Complaint FilterTrace(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  SmartFilter* filter = FindDeclared(config::SettingsOf<FilterSettings>(scope), words[0]);
  if (!filter) return "Undeclared smart filter " + words[0];
  if (words[1] != "0" && words[1] != "1") return node.name + ": the level is 0 or 1";
  filter->is_traced = words[1] == "1";
  return std::nullopt;
}

Complaint AddOutputFilterByType(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  if (auto complaint = CheckOutputFilters(node.name, words[0])) return complaint;
  auto& settings = config::SettingsOf<FilterSettings>(scope);
  for (const std::string& name : Split(words[0], ";")) {
    FilterProvider provider;
    provider.filter = FindOutputFilter(name);
    provider.types.assign(words.begin() + 1, words.end());
    const std::string smart = std::string("BYTYPE:") + provider.filter->name;
    auto& providers = Declared(settings, smart).providers;
    providers.insert(providers.begin(), std::move(provider));
    settings.Take({'?', config::LowerCase(smart)});
  }
  return std::nullopt;
}

Complaint FilterProtocol(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  SmartFilter* filter = FindDeclared(config::SettingsOf<FilterSettings>(scope), words[0]);
  if (!filter) return "FilterProtocol: No such filter";
  unsigned* bits = &filter->protocol;
  if (words.size() > 2) {
    bits = nullptr;
    for (FilterProvider& provider : filter->providers) {
      if (config::SameIgnoringCase(provider.filter->name, words[1])) bits = &provider.protocol;
    }
    if (!bits) return "FilterProtocol: No such provider for this filter";
  }
  for (const std::string& flag : Split(words.back(), ";, \t")) {
    if (config::SameIgnoringCase(flag, "change=yes")) {
      *bits |= kFilterChanges | kFilterChangesLength;
    } else if (config::SameIgnoringCase(flag, "change=no")) {
      *bits &= ~(kFilterChanges | kFilterChangesLength);
    } else if (config::SameIgnoringCase(flag, "change=1:1")) {
      *bits |= kFilterChanges;
    } else if (config::SameIgnoringCase(flag, "byteranges=no")) {
      *bits |= kFilterNoByteRanges;
    } else if (config::SameIgnoringCase(flag, "proxy=no")) {
      *bits |= kFilterNoProxy;
    } else if (config::SameIgnoringCase(flag, "proxy=transform")) {
      *bits |= kFilterTransforms;
    } else if (config::SameIgnoringCase(flag, "cache=no")) {
      *bits |= kFilterNoCache;
    } else {
      return node.name + ": \"" + flag +
             "\" is not change=yes, change=no, change=1:1, byteranges=no, proxy=no, proxy=transform or cache=no";
    }
  }
  return std::nullopt;
}

}  // namespace

void FilterSettings::Take(Step step) {
  const auto at = std::find(chain.begin(), chain.end(), step.name);
  switch (step.action) {
    case '=':
      chain = {step.name};
      break;
    case '!':
      chain.clear();
      break;
    case '-':
      chain.erase(std::remove(chain.begin(), chain.end(), step.name), chain.end());
      break;
    case '@':
      chain.insert(chain.begin(), step.name);
      break;
    case '?':
      if (at == chain.end()) chain.push_back(step.name);
      break;
    default:
      chain.push_back(step.name);
  }
  steps.push_back(std::move(step));
}

std::unique_ptr<config::ModuleSettings> FilterSettings::MergedWith(const ModuleSettings& other) const {
  const auto& inner = static_cast<const FilterSettings&>(other);
  auto out = std::make_unique<FilterSettings>(*this);
  if (inner.output) out->output = inner.output;
  for (const auto& [name, filter] : inner.declared) out->declared[name] = filter;
  for (const Step& step : inner.steps) out->Take(step);
  return out;
}

const std::vector<config::Directive>& FilterDirectives() {
  using config::Arity;
  using config::OnRead;
  static constexpr char kModule[] = "mod_filter.c";
  constexpr unsigned kByOptions = config::kAnywhere | config::kOverrideOptions;
  constexpr unsigned kByFileInfo = config::kAnywhere | config::kOverrideFileInfo;
  static const std::vector<config::Directive> table = {
      {"SetOutputFilter", "core.c", kByFileInfo, Arity::kOne,
       "filter (or ; delimited list of filters) to be run on the request content", OnRead::kNo, SetOutputFilter,
       "filter[;filter...]", "",
       "Every answer goes through these filters. They are ordered by their kind: what changes the content (INFLATE, "
       "SUBSTITUTE) comes before what compresses it (BROTLI_COMPRESS, ZSTD_COMPRESS, DEFLATE), that before RATE_LIMIT. "
       "Of several that compress, one acts: the one the client likes best, of equals the first. Error pages that the "
       "server writes itself are not filtered. An unknown name is an error; Apache starts and leaves it out."},
      {"SetInputFilter", "core.c", kByFileInfo, Arity::kOne,
       "filter (or ; delimited list of filters) to be run on the request body", OnRead::kNo, SetInputFilter,
       "filter[;filter...]", "", "An error that says so: request bodies are not filtered by this server."},
      {"AddOutputFilterByType", kModule, kByFileInfo, Arity::kAtLeastTwo,
       "output filter name followed by one or more content-types", OnRead::kNo, AddOutputFilterByType,
       "filter[;filter...] media-type [media-type] ...", "",
       "Answers of these media types go through the filter. In a more specific section, another line for the same "
       "filter replaces its list of types. Answers other than 200 and 304 are left alone unless the variable "
       "filter-errordocs is set."},
      {"FilterDeclare", kModule, kByOptions, Arity::kOneOrTwo, "filter-name [filter-type]", OnRead::kNo, FilterDeclare,
       "filter-name [RESOURCE|CONTENT_SET|PROTOCOL|TRANSCODE|CONNECTION|NETWORK]", "",
       "Makes a name for FilterProvider and FilterChain. Without a type it stands in the order of its provider."},
      {"FilterProvider", kModule, kByOptions, Arity::kThree, "filter-name provider-name match-expression", OnRead::kNo,
       FilterProviderDirective, "filter-name provider-name expression", "",
       "The filter runs this provider when the expression holds. The provider that was named last is asked first."},
      {"FilterChain", kModule, kByOptions, Arity::kAny, "list of filter names with optional [+-=!@]", OnRead::kNo,
       FilterChain, "[+=-@!]filter-name ...", "",
       "+name or name appends a declared filter, @name puts it in front, -name takes it out, =name leaves only it, ! "
       "empties the chain. Sections go on with the chain of the place around them."},
      {"FilterProtocol", kModule, kByOptions, Arity::kTwoOrThree, "filter-name [provider-name] protocol-args",
       OnRead::kNo, FilterProtocol, "filter-name [provider-name] proto-flags", "",
       "What the answer's fields have to say when the filter runs: change=yes|no|1:1, byteranges=no, proxy=no, "
       "proxy=transform, cache=no, separated by ; or commas. The filters of this server do for themselves what they "
       "need."},
      {"FilterTrace", kModule, config::kAnywhere, Arity::kTwo, "filter-name level", OnRead::kNo, FilterTrace,
       "filter-name 0|1", "0", "Level 1 writes a line at LogLevel info for every piece that comes to the filter."},
  };
  return table;
}

}  // namespace httpd::modules
