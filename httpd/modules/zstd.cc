// mod_zstd: the filter ZSTD_COMPRESS, with the directives of the module that goes by this name; Apache has none.
#include <zstd.h>

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

struct ZstdSettings final : config::ModuleSettings {
  std::optional<int> level;
  std::optional<int> window;
  std::optional<EtagChange> etag;
  CodingNotes notes;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const ZstdSettings&>(other);
    auto out = std::make_unique<ZstdSettings>(*this);
    if (inner.level) out->level = inner.level;
    if (inner.window) out->window = inner.window;
    if (inner.etag) out->etag = inner.etag;
    out->notes = inner.notes.Or(notes);
    return out;
  }
};

constexpr int kUsualLevel = 3;
constexpr int kWidestWindow = 23;  // 8 MiB: no client needs to take more. RFC 9659

Complaint SetLevel(config::Builder&, Scope& scope, const Node&, const Words& words) {
  const auto value = ParseBetween(words[0], ::ZSTD_minCLevel(), ::ZSTD_maxCLevel());
  if (!value) {
    return "ZstdCompressionLevel must be between " + std::to_string(::ZSTD_minCLevel()) + " and " +
           std::to_string(::ZSTD_maxCLevel());
  }
  config::SettingsOf<ZstdSettings>(scope).level = value;
  return std::nullopt;
}

Complaint SetWindow(config::Builder&, Scope& scope, const Node&, const Words& words) {
  const auto value = ParseBetween(words[0], 0, kWidestWindow);
  if (!value || (*value != 0 && *value < 10)) {
    return "ZstdWindowSize must be 0, or between 10 and 23: clients need not take a wider one";
  }
  config::SettingsOf<ZstdSettings>(scope).window = value;
  return std::nullopt;
}

Complaint SetEtag(config::Builder&, Scope& scope, const Node&, const Words& words) {
  return SetEtagChange(words[0], "ZstdAlterETag accepts only 'AddSuffix', 'NoChange' and 'Remove'",
                       config::SettingsOf<ZstdSettings>(scope).etag);
}

Complaint SetNote(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  return SetCodingNote(node.name, words, config::SettingsOf<ZstdSettings>(scope).notes);
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  static constexpr char kModule[] = "mod_zstd.c";
  constexpr unsigned kHosts = config::kInHosts;
  static const std::vector<config::Directive> table = {
      {"ZstdFilterNote", kModule, kHosts, Arity::kOneOrTwo, "Set a note to report on compression ratio", OnRead::kNo,
       SetNote, "[Input|Output|Ratio] notename", "", ""},
      {"ZstdCompressionLevel", kModule, kHosts, Arity::kOne,
       "Compression level between min and max (higher level means better compression but slower)", OnRead::kNo,
       SetLevel, "value", "3",
       "Up to 22; negative levels are faster. From about 15 on, a piece of a body takes long enough for others to "
       "notice, and a stream takes tens of MiB."},
      {"ZstdWindowSize", kModule, kHosts, Arity::kOne,
       "Window size between min and max (larger windows can improve compression, but require more memory)", OnRead::kNo,
       SetWindow, "value", "0", "Its logarithm, 10 to 23; 0 leaves it to the level."},
      {"ZstdAlterETag", kModule, kHosts, Arity::kOne,
       "Set how mod_zstd should modify ETag response headers: 'AddSuffix' (default), 'NoChange', 'Remove'", OnRead::kNo,
       SetEtag, "AddSuffix|NoChange|Remove", "AddSuffix", "As DeflateAlterETag, with -zstd."},
  };
  return table;
}

const ZstdSettings& SettingsOf(const RequestState& state) {
  static const ZstdSettings defaults;
  const auto* settings = SettingsFor<ZstdSettings>(state);
  return settings ? *settings : defaults;
}

EtagChange EtagOf(const RequestState& state) {
  return SettingsOf(state).etag.value_or(EtagChange::kAddSuffix);
}

bool MayCompress(const RequestState& state, const FilterView& view) {
  return MayBeCoded(state, view, "no-zstd");
}

std::unique_ptr<net::BodySource> Compressed(RequestState& state, std::unique_ptr<net::BodySource> body) {
  const ZstdSettings& settings = SettingsOf(state);
  auto coder =
      MakeZstdCoder(settings.level.value_or(kUsualLevel), settings.window.value_or(0), body->Left().value_or(0));
  return CodedSource(std::move(body), std::move(coder), kUsualSlice, NoteTaker(state, settings.notes, 0));
}

}  // namespace

const OutputFilter kZstdFilter = {.name = "ZSTD_COMPRESS",
                                  .type = FilterType::kContentSet,
                                  .coding = "zstd",
                                  .etag_suffix = "-zstd",
                                  .applies = MayCompress,
                                  .etag = EtagOf,
                                  .wrap = Compressed};

const Module kZstd = {
    .name = {"mod_zstd.c", "zstd_module"}, .directives = Directives, .applies = HasSettings<ZstdSettings>};

}  // namespace httpd::modules
