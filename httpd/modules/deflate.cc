// mod_deflate: the filters DEFLATE and INFLATE. Source  httpd 2.4 manual, mod_deflate
#include <algorithm>
#include <optional>
#include <utility>

#include "httpd/config/builder.h"
#include "httpd/modules/coders.h"
#include "httpd/modules/coding_filter.h"
#include "httpd/modules/filters.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

struct DeflateSettings final : config::ModuleSettings {
  std::optional<int> level;
  std::optional<int> window;
  std::optional<int> mem_level;
  std::optional<int> slice;
  std::optional<EtagChange> etag;
  CodingNotes notes;
  std::optional<int> ratio;
  std::optional<int> burst;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const DeflateSettings&>(other);
    auto out = std::make_unique<DeflateSettings>(*this);
    if (inner.level) out->level = inner.level;
    if (inner.window) out->window = inner.window;
    if (inner.mem_level) out->mem_level = inner.mem_level;
    if (inner.slice) out->slice = inner.slice;
    if (inner.etag) out->etag = inner.etag;
    if (inner.ratio) out->ratio = inner.ratio;
    if (inner.burst) out->burst = inner.burst;
    out->notes = inner.notes.Or(notes);
    return out;
  }
};

constexpr int kSmallestWindow = 9;  // of zlib, for gzip
constexpr uint64_t kGzipFrame = 18;

/// For the directives that are one number: `member` gets it, or `complaint` is said.
Complaint SetNumber(Scope& scope, const Words& words, std::optional<int> DeflateSettings::*member, int least, int most,
                    const char* complaint) {
  const auto value = ParseBetween(words[0], least, most);
  if (!value) return complaint;
  config::SettingsOf<DeflateSettings>(scope).*member = *value;
  return std::nullopt;
}

Complaint SetLevel(config::Builder&, Scope& scope, const Node&, const Words& words) {
  return SetNumber(scope, words, &DeflateSettings::level, 1, 9, "Compression Level must be between 1 and 9");
}

Complaint SetWindow(config::Builder&, Scope& scope, const Node&, const Words& words) {
  if (ParseBetween(words[0], 1, kSmallestWindow - 1)) {
    return "DeflateWindowSize must be between 9 and 15: zlib makes no gzip with a smaller window";
  }
  return SetNumber(scope, words, &DeflateSettings::window, kSmallestWindow, 15,
                   "DeflateWindowSize must be between 1 and 15");
}

Complaint SetMemLevel(config::Builder&, Scope& scope, const Node&, const Words& words) {
  return SetNumber(scope, words, &DeflateSettings::mem_level, 1, 9, "DeflateMemLevel must be between 1 and 9");
}

Complaint SetBufferSize(config::Builder&, Scope& scope, const Node&, const Words& words) {
  return SetNumber(scope, words, &DeflateSettings::slice, 1, 1 << 30, "DeflateBufferSize should be positive");
}

Complaint SetRatioLimit(config::Builder&, Scope& scope, const Node&, const Words& words) {
  return SetNumber(scope, words, &DeflateSettings::ratio, 1, 1 << 30, "DeflateInflateRatioLimit must be positive");
}

Complaint SetRatioBurst(config::Builder&, Scope& scope, const Node&, const Words& words) {
  return SetNumber(scope, words, &DeflateSettings::burst, 1, 1 << 30, "DeflateInflateRatioBurst must be positive");
}

Complaint RefuseBodyLimit(config::Builder&, Scope&, const Node& node, const Words&) {
  return node.name + ": request bodies are not inflated by this server; LimitRequestBody holds for what is sent";
}

Complaint SetEtag(config::Builder&, Scope& scope, const Node&, const Words& words) {
  return SetEtagChange(words[0], "DeflateAlterETAG accepts only 'NoChange', 'AddSuffix', and 'Remove'",
                       config::SettingsOf<DeflateSettings>(scope).etag);
}

Complaint SetNote(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  return SetCodingNote(node.name, words, config::SettingsOf<DeflateSettings>(scope).notes);
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  static constexpr char kModule[] = "mod_deflate.c";
  constexpr unsigned kHosts = config::kInHosts;
  constexpr unsigned kAnyOverride = config::kAnywhere | config::kOverrideAny;
  static const std::vector<config::Directive> table = {
      {"DeflateFilterNote", kModule, kHosts, Arity::kOneOrTwo, "Set a note to report on compression ratio", OnRead::kNo,
       SetNote, "[Input|Output|Ratio] notename", "",
       "Bytes before and after compression, or the second in percent of the first, for %{notename}n in a log."},
      {"DeflateWindowSize", kModule, kHosts, Arity::kOne, "Set the Deflate window size (1-15)", OnRead::kNo, SetWindow,
       "value", "15", "9 to 15; zlib refuses smaller ones, so they are an error here."},
      {"DeflateBufferSize", kModule, kHosts, Arity::kOne, "Set the Deflate Buffer Size", OnRead::kNo, SetBufferSize,
       "value", "32768",
       "Bytes that are compressed at one go before other connections have their turn; at most 65536. A body of up to "
       "65536 bytes is compressed as a whole and has a Content-Length, a longer one is sent in chunks."},
      {"DeflateMemLevel", kModule, kHosts, Arity::kOne, "Set the Deflate Memory Level (1-9)", OnRead::kNo, SetMemLevel,
       "value", "9", "With 9 and a window of 15, a stream takes 384 KiB while it is sent."},
      {"DeflateCompressionLevel", kModule, kHosts, Arity::kOne, "Set the Deflate Compression Level (1-9)", OnRead::kNo,
       SetLevel, "value", "6", ""},
      {"DeflateAlterEtag", kModule, kHosts, Arity::kOne,
       "Set how mod_deflate should modify ETAG response headers: 'AddSuffix' (default), 'NoChange' (2.2.x behavior), "
       "'Remove'",
       OnRead::kNo, SetEtag, "AddSuffix|NoChange|Remove", "AddSuffix",
       "AddSuffix appends -gzip inside the quotes, and conditional requests are answered by the tag with the suffix: "
       "unlike Apache, a client that sends it back gets its 304. NoChange gives two representations one tag and breaks "
       "RFC 9110."},
      {"DeflateInflateLimitRequestBody", kModule, kAnyOverride, Arity::kOne, "Set a limit on size of inflated input",
       OnRead::kNo, RefuseBodyLimit, "value", "",
       "An error that says so: request bodies are not inflated by this server."},
      {"DeflateInflateRatioLimit", kModule, kAnyOverride, Arity::kOne,
       "Set the inflate ratio limit above which inflation is aborted (default: 200)", OnRead::kNo, SetRatioLimit,
       "value", "200", "For INFLATE: output over input, looked at every 8 KiB of output."},
      {"DeflateInflateRatioBurst", kModule, kAnyOverride, Arity::kOne,
       "Set the maximum number of following inflate ratios above limit (default: 3)", OnRead::kNo, SetRatioBurst,
       "value", "3", "How many times in a row the ratio may be exceeded."},
  };
  return table;
}

const DeflateSettings& SettingsOf(const RequestState& state) {
  static const DeflateSettings defaults;
  const auto* settings = SettingsFor<DeflateSettings>(state);
  return settings ? *settings : defaults;
}

EtagChange EtagOf(const RequestState& state) {
  return SettingsOf(state).etag.value_or(EtagChange::kAddSuffix);
}

bool MayDeflate(const RequestState& state, const FilterView& view) {
  if (!MayBeCoded(state, view, "no-gzip")) return false;
  const std::string* only_html = state.environment.Find("gzip-only-text/html");
  return !only_html || *only_html != "1" || view.media_type == "text/html";
}

std::unique_ptr<net::BodySource> Deflated(RequestState& state, std::unique_ptr<net::BodySource> body) {
  const DeflateSettings& settings = SettingsOf(state);
  const auto slice = std::min<size_t>(static_cast<size_t>(settings.slice.value_or(kUsualSlice)), kSlice);
  auto coder = MakeGzipCoder(settings.level.value_or(-1), settings.window.value_or(15), settings.mem_level.value_or(9));
  return CodedSource(std::move(body), std::move(coder), slice, NoteTaker(state, settings.notes, kGzipFrame));
}

bool MayInflate(const RequestState&, const FilterView& view) {
  return view.coding == "gzip" || view.coding == "x-gzip";
}

std::unique_ptr<net::BodySource> Inflated(RequestState& state, std::unique_ptr<net::BodySource> body) {
  const DeflateSettings& settings = SettingsOf(state);
  InflateLimits limits;
  limits.ratio = settings.ratio.value_or(limits.ratio);
  limits.burst = settings.burst.value_or(limits.burst);
  return InflatedSource(std::move(body), limits,
                        [log = LaterLog(state, "deflate"), path = state.path](const std::string& why) {
                          log.Write(config::LogLevel::kError, why + ": URL " + path);
                        });
}

}  // namespace

const OutputFilter kDeflateFilter = {.name = "DEFLATE",
                                     .type = FilterType::kContentSet,
                                     .coding = "gzip",
                                     .forced_by = "force-gzip",
                                     .etag_suffix = "-gzip",
                                     .applies = MayDeflate,
                                     .etag = EtagOf,
                                     .wrap = Deflated};

const OutputFilter kInflateFilter = {.name = "INFLATE",
                                     .type = FilterType::kBeforeResource,
                                     .undoes_coding = true,
                                     .etag_suffix = "-gunzip",
                                     .applies = MayInflate,
                                     .etag = EtagOf,
                                     .wrap = Inflated};

const Module kDeflate = {
    .name = {"mod_deflate.c", "deflate_module"}, .directives = Directives, .applies = HasSettings<DeflateSettings>};

}  // namespace httpd::modules
