// PrecompressedFiles, our own: FILE.br, FILE.zst or FILE.gz is sent for FILE to clients that can decode it.
#include <sys/stat.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/http/ascii.h"
#include "httpd/http/content_coding.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/filters.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/static_file.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

struct Kind {
  const char* coding;
  const char* extension;
};
constexpr std::array kKinds = {Kind{"br", ".br"}, Kind{"zstd", ".zst"}, Kind{"gzip", ".gz"}};

struct PrecompressedSettings final : config::ModuleSettings {
  std::vector<const Kind*> kinds;  ///< the server's preference first; empty = Off

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& inner) const override {
    return std::make_unique<PrecompressedSettings>(static_cast<const PrecompressedSettings&>(inner));
  }
};

Complaint PrecompressedFiles(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  auto& kinds = config::SettingsOf<PrecompressedSettings>(scope).kinds;
  kinds.clear();
  if (words.size() == 1 && http::EqualsIgnoreCase(words[0], "off")) return std::nullopt;
  if (words.size() == 1 && http::EqualsIgnoreCase(words[0], "on")) {
    for (const Kind& kind : kKinds) kinds.push_back(&kind);
    return std::nullopt;
  }
  for (const std::string& word : words) {
    const Kind* found = nullptr;
    for (const Kind& kind : kKinds) {
      if (http::EqualsIgnoreCase(word, kind.coding)) found = &kind;
    }
    if (!found) return node.name + ": \"" + word + "\" is not On, Off, br, zstd or gzip";
    kinds.push_back(found);
  }
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  static const std::vector<config::Directive> table = {
      {"PrecompressedFiles", "mod_precompressed.c", config::kAnywhere | config::kOverrideFileInfo,
       config::Arity::kAtLeastOne, "On, Off, or the codings to look for: br, zstd, gzip", config::OnRead::kNo,
       PrecompressedFiles, "On|Off|br|zstd|gzip ...", "Off",
       "For a request of FILE, the file FILE.br, FILE.zst or FILE.gz is sent, with FILE's media type, if the client "
       "accepts the coding and the file is not older than FILE. Of several, the one the client likes best; of equals "
       "the first in the list (On: br zstd gzip). Access is judged by FILE, links by Options as for FILE. Ours; Apache "
       "needs MultiViews or rewriting for this."},
  };
  return table;
}

bool IsOlder(const timespec& a, const timespec& b) {
  return std::tie(a.tv_sec, a.tv_nsec) < std::tie(b.tv_sec, b.tv_nsec);
}

void Content(RequestState& state) {
  const auto* settings = SettingsFor<PrecompressedSettings>(state);
  if (!settings || settings->kinds.empty() || state.is_subrequest()) return;
  const http::Method method = state.head().method;
  if (method != http::Method::kGet && method != http::Method::kHead) return;
  if (!S_ISREG(state.info.st_mode) || !state.handler.empty() || !state.path_info.empty()) return;
  if (!state.encodings.empty()) return;
  std::string storage;
  const std::string_view accept = AcceptEncoding(state, storage);
  const Kind* best = nullptr;
  int best_weight = std::max(http::CodingWeight(accept, "identity") - 1, 0);
  bool any = false;
  std::string name;
  for (const Kind* kind : settings->kinds) {
    name = state.file + kind->extension;
    struct stat info {};
    const bool is_there = ::stat(name.c_str(), &info) == 0;
    if (Dependencies* on = state.engine->dependencies()) on->OnFile(name, is_there ? &info : nullptr);
    if (!is_there || !S_ISREG(info.st_mode)) continue;
    if (IsOlder(info.st_mtim, state.info.st_mtim)) continue;
    any = true;
    const int weight = http::CodingWeight(accept, kind->coding);
    if (weight <= best_weight) continue;
    best = kind;
    best_weight = weight;
  }
  if (!any) return;
  VaryOn(state.response->fields, "Accept-Encoding");
  if (!best) return;
  name = state.file + best->extension;
  // A link that may not be followed, or no right to read it: FILE is still there.
  const auto opened = OpenForServing(state.root, name, state.settings->options);
  if (!opened || !S_ISREG(opened.value().status.st_mode)) return;
  state.file = std::move(name);
  state.info = opened.value().status;
  state.encodings = {best->coding};
  state.etag_suffix += std::string("-") + best->coding;
}

void Repeats(const RequestState& state, Dependencies& on) {
  if (!SettingsFor<PrecompressedSettings>(state)->kinds.empty()) on.OnField("Accept-Encoding");
}

}  // namespace

const Module kPrecompressed = {.name = {"mod_precompressed.c", "precompressed_module"},
                               .directives = Directives,
                               .applies = HasSettings<PrecompressedSettings>,
                               .content = Content,
                               .repeats = Repeats};

}  // namespace httpd::modules
