// mod_filter, SetOutputFilter and AddOutputFilter: which filters an answer goes through, and its fields then.
#include "httpd/modules/filters.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "httpd/config/lexer.h"
#include "httpd/http/ascii.h"
#include "httpd/http/content_coding.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/coded_source.h"
#include "httpd/modules/filter_settings.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using net::BodySource;
using net::Response;

constexpr size_t kLongestChain = 16;  ///< filters on one answer; a configuration that wants more is mistaken

struct Link {
  const OutputFilter* filter = nullptr;
  FilterType type = FilterType::kResource;
  const SmartFilter* smart = nullptr;  ///< null: named directly
};

/// What will be done with one answer.
struct Plan {
  std::vector<Link> links;  ///< those that act, in their order
  bool varies = false;      ///< whether they act depends on Accept-Encoding
  unsigned protocol = 0;    ///< FilterProtocol, of all that were chosen: they need not act to have it their way
};

std::string_view WithoutParameters(std::string_view media_type) {
  return media_type.substr(0, media_type.find_first_of("; \t"));
}

/// Logs what comes to a filter. Source  mod_filter, filter_trace
class TracedSource final : public BodySource {
 public:
  TracedSource(const RequestState& state, std::string name, std::unique_ptr<BodySource> inner)
      : log_(state, "filter"), name_(std::move(name)), inner_(std::move(inner)) {}
  State Read(std::string& out, size_t most) override {
    const size_t before = out.size();
    const State result = inner_->Read(out, most);
    if (out.size() > before) {
      Log("AH01376: " + name_ + ": type: DATA, length: " + std::to_string(out.size() - before));
    }
    if (result == State::kEnd) Log("AH01376: " + name_ + ": type: EOS, length: 0");
    return result;
  }
  std::optional<uint64_t> Left() const override { return inner_->Left(); }

 private:
  void Log(const std::string& text) { log_.Write(config::LogLevel::kInfo, text); }
  LaterLog log_;
  std::string name_;
  std::unique_ptr<BodySource> inner_;
};

bool Holds(const FilterProvider& provider, RequestState& state, const FilterView& view) {
  if (provider.expression) {
    const ExpressionResult result = provider.expression->Evaluate(state);
    if (view.is_final && !result.vary.empty()) AddVary(state, result.vary);
    return result.holds;
  }
  return std::any_of(provider.types.begin(), provider.types.end(),
                     [&](const std::string& type) { return http::EqualsIgnoreCase(type, view.media_type); });
}

/// mod_filter's part of the chain: errors are left alone unless somebody asks for it.
void AddSmartFilters(const FilterSettings& settings, RequestState& state, const FilterView& view,
                     std::vector<Link>& out, unsigned& protocol) {
  const int status = state.response->status;
  const bool is_usual = state.error_status == 0 && (status == 200 || status == 206 || status == 304);
  if (!is_usual && !state.environment.Find("filter-errordocs")) return;
  for (const std::string& name : settings.chain) {
    const auto found = settings.declared.find(name);
    if (found == settings.declared.end()) {
      state.engine->LogError(state, config::LogLevel::kError, "filter",
                             "AH01380: Unknown filter " + name + " not added");
      continue;
    }
    const SmartFilter& smart = found->second;
    for (const FilterProvider& provider : smart.providers) {
      if (!Holds(provider, state, view)) continue;
      protocol |= smart.protocol | provider.protocol;
      out.push_back({provider.filter, smart.type.value_or(provider.filter->type), &smart});
      break;
    }
  }
}

/// Of those that would apply a coding, the one that the client likes best; null: none, or it prefers the plain content.
const OutputFilter* BestCoder(const std::vector<const OutputFilter*>& offers, const RequestState& state) {
  std::string storage;
  const std::string_view accept = AcceptEncoding(state, storage);
  const OutputFilter* best = nullptr;
  int best_weight = std::max(http::CodingWeight(accept, "identity") - 1, 0);
  for (const OutputFilter* filter : offers) {
    if (*filter->forced_by != '\0' && state.environment.Find(filter->forced_by)) return filter;
    const int weight = http::CodingWeight(accept, filter->coding);
    if (weight <= best_weight) continue;
    best = filter;
    best_weight = weight;
  }
  return best;
}

bool IsConcerned(const RequestState& state) {
  return !state.output_filters.empty() || SettingsFor<FilterSettings>(state) != nullptr;
}

Plan PlanFor(RequestState& state, FilterView view) {
  Plan plan;
  std::vector<Link> wanted;
  for (const std::string& name : state.output_filters) {
    if (const OutputFilter* filter = FindOutputFilter(name)) wanted.push_back({filter, filter->type});
  }
  if (const auto* settings = SettingsFor<FilterSettings>(state)) {
    if (settings->output) {
      for (const OutputFilter* filter : *settings->output) wanted.push_back({filter, filter->type});
    }
    if (!settings->chain.empty()) AddSmartFilters(*settings, state, view, wanted, plan.protocol);
  }
  std::stable_sort(wanted.begin(), wanted.end(), [](const Link& a, const Link& b) { return a.type < b.type; });
  if (wanted.size() > kLongestChain) wanted.resize(kLongestChain);

  std::vector<const OutputFilter*> offers;
  for (const Link& link : wanted) {
    if (link.filter->applies && !link.filter->applies(state, view)) continue;
    if (link.filter->undoes_coding) view.coding = {};
    if (*link.filter->coding != '\0') offers.push_back(link.filter);
    plan.links.push_back(link);
  }
  if (offers.empty()) return plan;
  plan.varies = true;
  const OutputFilter* best = BestCoder(offers, state);
  std::erase_if(plan.links, [&best](const Link& link) {
    if (*link.filter->coding == '\0') return false;
    if (link.filter != best) return true;
    best = nullptr;  // named twice, it still acts once
    return false;
  });
  return plan;
}

/// Before the answer is made: of the file that it will be, as the modules describe it.
void Content(RequestState& state) {
  if (!IsConcerned(state)) return;
  FilterView view;
  view.media_type = WithoutParameters(state.media_type);
  std::string codings;
  for (const std::string& coding : state.encodings) codings += (codings.empty() ? "" : ", ") + coding;
  view.coding = codings;
  if (S_ISREG(state.info.st_mode)) view.size = static_cast<uint64_t>(state.info.st_size);
  // Conditions ask for the fields of the answer, which is not made yet.
  std::string& fields = state.response->fields;
  const size_t before = fields.size();
  if (!state.media_type.empty() && FindField(fields, "Content-Type").data() == nullptr) {
    AppendField(fields, "Content-Type", state.media_type);
  }
  if (!codings.empty() && FindField(fields, "Content-Encoding").data() == nullptr) {
    AppendField(fields, "Content-Encoding", codings);
  }
  const Plan plan = PlanFor(state, view);
  fields.resize(before);
  if ((plan.protocol & kFilterNoByteRanges) != 0) state.ignore_ranges = true;
  for (const Link& link : plan.links) {
    if (link.filter->changes_content) state.ignore_ranges = true;
    if (link.filter->etag && link.filter->etag(state) == EtagChange::kAddSuffix) {
      state.etag_suffix += link.filter->etag_suffix;
    }
  }
}

std::optional<uint64_t> SizeOf(const RequestState& state) {
  const Response& response = *state.response;
  if (response.source) return response.source->Left();
  if (response.status == 304 || response.status == 206) {  // of the whole, as for the 200
    if (!S_ISREG(state.info.st_mode)) return std::nullopt;
    return static_cast<uint64_t>(state.info.st_size);
  }
  if (response.file.valid()) {
    uint64_t size = 0;
    for (const Response::Part& part : response.parts) size += part.text.size() + part.length;
    return size;
  }
  if (response.without_body && response.content_length != 0) return response.content_length;
  if (response.without_body && response.without_length) return std::nullopt;
  return response.body.size();
}

void ChangeEtag(Response& response, const OutputFilter& filter, EtagChange change) {
  if (change == EtagChange::kRemove) RemoveField(response.fields, "ETag");
  if (change != EtagChange::kAddSuffix) return;
  const std::string end = std::string(filter.etag_suffix) + "\"";
  ChangeFields(response.fields, "ETag", [&end](const std::string& tag) {
    // Who made the answer of a file has put it there already.
    if (tag.size() < 2 || !tag.ends_with('"') || tag.ends_with(end)) return tag;
    return tag.substr(0, tag.size() - 1) + end;
  });
}

/// Source  mod_filter, filter_lookup: what the flags of FilterProtocol do to the fields
void ApplyProtocol(Response& response, unsigned protocol) {
  std::string& fields = response.fields;
  if ((protocol & kFilterChanges) != 0) {
    RemoveField(fields, "Content-MD5");
    RemoveField(fields, "ETag");
  }
  if ((protocol & kFilterChangesLength) != 0) RemoveField(fields, "Content-Length");
  if ((protocol & kFilterNoCache) != 0) {
    RemoveField(fields, "Last-Modified");
    AppendField(fields, "Cache-Control", "no-cache");
  }
  if ((protocol & kFilterNoByteRanges) != 0) {
    RemoveField(fields, "Accept-Ranges");
    AppendField(fields, "Accept-Ranges", "none");
  }
}

void ChangeFieldsFor(Response& response, const OutputFilter& filter, RequestState& state) {
  if (filter.etag) ChangeEtag(response, filter, filter.etag(state));
  if (!filter.changes_content || response.status == 304) return;
  RemoveField(response.fields, "Content-Length");
  RemoveField(response.fields, "Content-MD5");
  if (filter.undoes_coding) RemoveField(response.fields, "Content-Encoding");
  if (*filter.coding != '\0') {
    RemoveField(response.fields, "Content-Encoding");  // at most "identity"
    AppendField(response.fields, "Content-Encoding", filter.coding);
  }
}

void Filter(RequestState& state) {
  Response& response = *state.response;
  if (!IsConcerned(state) || response.status == 204) return;
  FilterView view;
  const std::string_view type = FindField(response.fields, "Content-Type");
  const std::string media_type(WithoutParameters(type.empty() ? std::string_view(state.media_type) : type));
  view.media_type = media_type;
  std::string coding(FindField(response.fields, "Content-Encoding"));
  if (coding.empty()) {  // a 304 does not say it
    for (const std::string& one : state.encodings) coding += (coding.empty() ? "" : ", ") + one;
  }
  view.coding = coding;
  view.size = SizeOf(state);
  view.is_final = true;
  Plan plan = PlanFor(state, view);
  // Bytes of a range are bytes of another representation than the one a filter would make.
  if (response.status == 206 || FindField(response.fields, "Content-Range").data() != nullptr) {
    std::erase_if(plan.links, [](const Link& link) { return link.filter->changes_content; });
  }
  ApplyProtocol(response, plan.protocol);
  if (plan.varies && !state.environment.Find("force-no-vary")) VaryOn(response.fields, "Accept-Encoding");
  if (plan.links.empty()) return;

  const bool has_body = !response.without_body && response.status != 304;
  std::unique_ptr<BodySource> body;
  bool changes = false;
  for (const Link& link : plan.links) {
    if (has_body && (link.filter->wrap || (link.smart && link.smart->is_traced))) {
      if (!body) body = response.TakeBody();
      if (link.smart && link.smart->is_traced) {
        body = std::make_unique<TracedSource>(state, link.smart->name, std::move(body));
      }
    }
    if (has_body && link.filter->wrap) body = link.filter->wrap(state, std::move(body));
    if (link.filter->prepare) link.filter->prepare(state);
    ChangeFieldsFor(response, *link.filter, state);
    changes = changes || link.filter->changes_content;
  }
  if (body) SetBody(response, std::move(body), view.size);
  if (changes && !has_body && response.status != 304) {
    // What the body would come to is known only to who makes it, and a HEAD is not worth it. RFC 9110 9.3.2
    response.content_length = 0;
    response.without_length = true;
  }
}

/// The variables that filters look at depend on what set them.
void Repeats(const RequestState& state, Dependencies& on) {
  if (!IsConcerned(state)) return;
  on.OnField("Accept-Encoding");
  const auto* settings = SettingsFor<FilterSettings>(state);
  if (!settings) return;
  for (const auto& [name, smart] : settings->declared) {
    for (const FilterProvider& provider : smart.providers) {
      if (provider.expression) on.OnMore();
    }
  }
}

}  // namespace

bool FilterView::is_coded() const {
  std::string_view rest = coding;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(','), rest.size());
    std::string_view one = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    while (!one.empty() && (one.front() == ' ' || one.front() == '\t')) one.remove_prefix(1);
    while (!one.empty() && (one.back() == ' ' || one.back() == '\t')) one.remove_suffix(1);
    if (!one.empty() && !http::ListHolds("identity, 7bit, 8bit, binary", one)) return true;
  }
  return false;
}

std::span<const OutputFilter* const> OutputFilters() {
  static const OutputFilter* const filters[] = {&kBrotliFilter,    &kDeflateFilter,    &kInflateFilter,
                                                &kRateLimitFilter, &kSubstituteFilter, &kZstdFilter};
  return filters;
}

const OutputFilter* FindOutputFilter(std::string_view name) {
  for (const OutputFilter* filter : OutputFilters()) {
    if (http::EqualsIgnoreCase(filter->name, name)) return filter;
  }
  return nullptr;
}

config::Complaint CheckOutputFilters(std::string_view directive, std::string_view names) {
  bool any = false;
  while (!names.empty()) {
    const size_t end = std::min(names.find(';'), names.size());
    const std::string name(names.substr(0, end));
    names.remove_prefix(std::min(end + 1, names.size()));
    if (name.empty()) continue;
    any = true;
    if (FindOutputFilter(name)) continue;
    std::string known;
    for (const OutputFilter* filter : OutputFilters()) known += (known.empty() ? "" : ", ") + std::string(filter->name);
    return std::string(directive) + ": unknown filter " + name + ", there are " + known;
  }
  if (!any) return std::string(directive) + " lacks the name of a filter";
  return std::nullopt;
}

void VaryOn(std::string& fields, std::string_view name) {
  const std::string_view before = FindField(fields, "Vary");
  if (before.data() == nullptr) {
    AppendField(fields, "Vary", name);
    return;
  }
  bool is_said = false;
  bool is_first = true;
  ChangeFields(fields, "Vary", [&is_said, name](const std::string& value) {
    is_said = is_said || http::ListHolds(value, name) || http::ListHolds(value, "*");
    return value;
  });
  if (is_said) return;
  ChangeFields(fields, "Vary", [&is_first, name](const std::string& value) {
    if (!std::exchange(is_first, false)) return value;
    return value.empty() ? std::string(name) : value + ", " + std::string(name);
  });
}

LaterLog::LaterLog(const RequestState& state, std::string_view module)
    : host_(*state.host),
      module_(module),
      client_(std::string(state.client_address()) + ":" + std::to_string(state.request->client_port)) {}

void LaterLog::Write(config::LogLevel level, const std::string& text) const {
  if (host_.error_log->Wants(level)) host_.error_log->Write(level, module_, text, client_);
}

std::string_view AcceptEncoding(const RequestState& state, std::string& storage) {
  const http::RequestHead& head = state.head();
  if (!head.Has(http::Known::kAcceptEncoding)) return {};
  if (!head.Repeated(http::Known::kAcceptEncoding)) return head.Get(http::Known::kAcceptEncoding);
  storage = Joined(head, "Accept-Encoding");
  return storage;
}

const Module kFilter = {.name = {"mod_filter.c", "filter_module"},
                        .directives = FilterDirectives,
                        .applies = HasSettings<FilterSettings>,
                        .always = true,
                        .content = Content,
                        .filter = Filter,
                        .repeats = Repeats};

}  // namespace httpd::modules
