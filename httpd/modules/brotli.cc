// mod_brotli: the filter BROTLI_COMPRESS. Source  httpd 2.4 manual, mod_brotli
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

struct BrotliSettings final : config::ModuleSettings {
  std::optional<int> quality;
  std::optional<int> window;
  std::optional<int> block;
  std::optional<EtagChange> etag;
  CodingNotes notes;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const BrotliSettings&>(other);
    auto out = std::make_unique<BrotliSettings>(*this);
    if (inner.quality) out->quality = inner.quality;
    if (inner.window) out->window = inner.window;
    if (inner.block) out->block = inner.block;
    if (inner.etag) out->etag = inner.etag;
    out->notes = inner.notes.Or(notes);
    return out;
  }
};

Complaint SetQuality(config::Builder&, Scope& scope, const Node&, const Words& words) {
  const auto value = ParseBetween(words[0], 0, 11);
  if (!value) return "BrotliCompressionQuality must be between 0 and 11";
  config::SettingsOf<BrotliSettings>(scope).quality = value;
  return std::nullopt;
}

Complaint SetWindow(config::Builder&, Scope& scope, const Node&, const Words& words) {
  const auto value = ParseBetween(words[0], 10, 24);
  if (!value) return "BrotliCompressionWindow must be between 10 and 24";
  config::SettingsOf<BrotliSettings>(scope).window = value;
  return std::nullopt;
}

Complaint SetBlock(config::Builder&, Scope& scope, const Node&, const Words& words) {
  const auto value = ParseBetween(words[0], 16, 24);
  if (!value) return "BrotliCompressionMaxInputBlock must be between 16 and 24";
  config::SettingsOf<BrotliSettings>(scope).block = value;
  return std::nullopt;
}

Complaint SetEtag(config::Builder&, Scope& scope, const Node&, const Words& words) {
  return SetEtagChange(words[0], "BrotliAlterETag accepts only 'AddSuffix', 'NoChange' and 'Remove'",
                       config::SettingsOf<BrotliSettings>(scope).etag);
}

Complaint SetNote(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  return SetCodingNote(node.name, words, config::SettingsOf<BrotliSettings>(scope).notes);
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  static constexpr char kModule[] = "mod_brotli.c";
  constexpr unsigned kHosts = config::kInHosts;
  static const std::vector<config::Directive> table = {
      {"BrotliFilterNote", kModule, kHosts, Arity::kOneOrTwo, "Set a note to report on compression ratio", OnRead::kNo,
       SetNote, "[Input|Output|Ratio] notename", "", ""},
      {"BrotliCompressionQuality", kModule, kHosts, Arity::kOne,
       "Compression quality between 0 and 11 (higher quality means slower compression)", OnRead::kNo, SetQuality,
       "value", "5",
       "10 and 11 are for files that are compressed beforehand (PrecompressedFiles): one block takes them up to a "
       "second, in which the loop serves nobody else."},
      {"BrotliCompressionWindow", kModule, kHosts, Arity::kOne,
       "Sliding window size between 10 and 24 (larger windows can improve compression, but require more memory)",
       OnRead::kNo, SetWindow, "value", "18", ""},
      {"BrotliCompressionMaxInputBlock", kModule, kHosts, Arity::kOne,
       "Maximum input block size between 16 and 24 (larger block sizes require more memory)", OnRead::kNo, SetBlock,
       "value", "", "Not said, brotli chooses by quality."},
      {"BrotliAlterETag", kModule, kHosts, Arity::kOne,
       "Set how mod_brotli should modify ETag response headers: 'AddSuffix' (default), 'NoChange', 'Remove'",
       OnRead::kNo, SetEtag, "AddSuffix|NoChange|Remove", "AddSuffix", "As DeflateAlterETag, with -br."},
  };
  return table;
}

const BrotliSettings& SettingsOf(const RequestState& state) {
  static const BrotliSettings defaults;
  const auto* settings = SettingsFor<BrotliSettings>(state);
  return settings ? *settings : defaults;
}

EtagChange EtagOf(const RequestState& state) {
  return SettingsOf(state).etag.value_or(EtagChange::kAddSuffix);
}

bool MayCompress(const RequestState& state, const FilterView& view) {
  return MayBeCoded(state, view, "no-brotli");
}

std::unique_ptr<net::BodySource> Compressed(RequestState& state, std::unique_ptr<net::BodySource> body) {
  const BrotliSettings& settings = SettingsOf(state);
  auto coder = MakeBrotliCoder(settings.quality.value_or(5), settings.window.value_or(18), settings.block.value_or(0),
                               body->Left().value_or(0));
  return CodedSource(std::move(body), std::move(coder), kUsualSlice, NoteTaker(state, settings.notes, 0));
}

}  // namespace

const OutputFilter kBrotliFilter = {.name = "BROTLI_COMPRESS",
                                    .type = FilterType::kContentSet,
                                    .coding = "br",
                                    .etag_suffix = "-br",
                                    .applies = MayCompress,
                                    .etag = EtagOf,
                                    .wrap = Compressed};

const Module kBrotli = {
    .name = {"mod_brotli.c", "brotli_module"}, .directives = Directives, .applies = HasSettings<BrotliSettings>};

}  // namespace httpd::modules
