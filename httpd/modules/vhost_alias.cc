// mod_vhost_alias: directories by the name of the host. Source  httpd 2.4 manual, mod_vhost_alias
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/http/ascii.h"
#include "httpd/modules/alias_table.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

/// A part of the name: `N` or `-N`, with or without `+`; 0 = all of it.
struct Selection {
  int number = 0;
  bool from_end = false;
  bool and_the_rest = false;
};

struct Piece {
  enum class Kind { kText, kPort, kName };
  Kind kind = Kind::kText;
  std::string text;
  Selection part;
  std::optional<Selection> letters;
};

struct Format {
  bool is_set = false;
  bool is_address = false;  ///< ...IP: of the address instead of the name
  std::vector<Piece> pieces;
};

struct VhostAliasSettings final : config::ModuleSettings {
  Format documents;
  Format scripts;
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<VhostAliasSettings>(static_cast<const VhostAliasSettings&>(other));
    if (!out->documents.is_set) out->documents = documents;
    if (!out->scripts.is_set) out->scripts = scripts;
    return out;
  }
};

/// [-]digit[+]
std::optional<Selection> TakeSelection(std::string_view& rest) {
  Selection out;
  if (rest.starts_with('-')) {
    out.from_end = true;
    rest.remove_prefix(1);
  }
  if (rest.empty() || rest.front() < '0' || rest.front() > '9') return std::nullopt;
  out.number = rest.front() - '0';
  rest.remove_prefix(1);
  if (rest.starts_with('+')) {
    out.and_the_rest = true;
    rest.remove_prefix(1);
  }
  return out;
}

std::optional<std::vector<Piece>> Parse(std::string_view text) {
  std::vector<Piece> out;
  const auto add_text = [&out](char c) {
    if (out.empty() || out.back().kind != Piece::Kind::kText) out.push_back({Piece::Kind::kText, "", {}, {}});
    out.back().text += c;
  };
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c != '%') {
      add_text(c);
    } else if (text.starts_with('%')) {
      add_text('%');
      text.remove_prefix(1);
    } else if (text.starts_with('p')) {
      out.push_back({Piece::Kind::kPort, "", {}, {}});
      text.remove_prefix(1);
    } else {
      Piece piece{Piece::Kind::kName, "", {}, {}};
      const auto part = TakeSelection(text);
      if (!part) return std::nullopt;
      piece.part = *part;
      if (text.starts_with('.')) {
        text.remove_prefix(1);
        piece.letters = TakeSelection(text);
        if (!piece.letters) return std::nullopt;
      }
      out.push_back(std::move(piece));
    }
  }
  return out;
}

Complaint SetFormat(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  auto& settings = config::SettingsOf<VhostAliasSettings>(scope);
  const std::string name = config::LowerCase(node.name);
  Format format;
  format.is_set = true;
  format.is_address = name.ends_with("ip");
  if (!config::SameIgnoringCase(words[0], "none")) {
    if (!words[0].starts_with('/')) return "format string must be an absolute path, or 'none'";
    auto pieces = Parse(words[0]);
    if (!pieces) return "syntax error in format string";
    format.pieces = std::move(*pieces);
  }
  (name.starts_with("virtualscript") ? settings.scripts : settings.documents) = std::move(format);
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  static constexpr char kModule[] = "mod_vhost_alias.c";
  static constexpr char kSyntax[] = "interpolated-directory|none";
  static const std::vector<config::Directive> table = {
      {"VirtualDocumentRoot", kModule, config::kInHosts, Arity::kOne, "how to create a DocumentRoot based on the host",
       OnRead::kNo, SetFormat, kSyntax, "none",
       "%0 is the name that the client asked for, %1 its first part, %-1 its last, %2+ the second and all that follow, "
       "%1.1 the first letter of the first part, %p the port, %% a percent sign; _ where there is no such part. A name "
       "with anything but letters, digits, '-', '_', ':' and single dots between them is answered with 400."},
      {"VirtualScriptAlias", kModule, config::kInHosts, Arity::kOne, "how to create a ScriptAlias based on the host",
       OnRead::kNo, SetFormat, kSyntax, "none"},
      {"VirtualDocumentRootIP", kModule, config::kInHosts, Arity::kOne,
       "how to create a DocumentRoot based on the host", OnRead::kNo, SetFormat, kSyntax, "none"},
      {"VirtualScriptAliasIP", kModule, config::kInHosts, Arity::kOne, "how to create a ScriptAlias based on the host",
       OnRead::kNo, SetFormat, kSyntax, "none"},
  };
  return table;
}

/// Without its port and a dot at its end; nullopt: it could lead out of the directory.
std::optional<std::string> SafeName(const RequestState& state) {
  std::string_view name = state.request->head->authority;
  if (name.empty()) name = state.host->host->server_name;
  const size_t bracket = name.rfind(']');
  name = name.substr(0, name.find(':', bracket == std::string_view::npos ? 0 : bracket));
  if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string out;
  for (const char c : name) {
    const char lower = http::Lower(c);
    const bool is_letter = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == ':';
    if (!is_letter && (c != '.' || out.empty() || out.back() == '.')) return std::nullopt;
    out += lower;
  }
  if (out.empty()) return std::nullopt;
  return out;
}

/// Numbered from 1; those of `from_end` from the end. "_" where there is none.
template <class Count, class Cut>
std::string Select(const Selection& selection, const std::string& whole, Count count, Cut cut) {
  if (selection.number == 0) return whole;
  const int n = selection.number;
  if (n > count) return "_";
  const int at = selection.from_end ? count - n : n - 1;
  if (!selection.and_the_rest) return cut(at, at + 1);
  return selection.from_end ? cut(0, at + 1) : cut(at, count);
}

std::string PartOf(const Piece& piece, const std::string& name) {
  std::vector<size_t> begins = {0};
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '.') begins.push_back(i + 1);
  }
  begins.push_back(name.size() + 1);
  const std::string part = Select(piece.part, name, static_cast<int>(begins.size()) - 1, [&](int from, int to) {
    const size_t begin = begins[static_cast<size_t>(from)];
    return name.substr(begin, begins[static_cast<size_t>(to)] - 1 - begin);
  });
  if (!piece.letters) return part;
  return Select(*piece.letters, part, static_cast<int>(part.size()), [&](int from, int to) {
    return part.substr(static_cast<size_t>(from), static_cast<size_t>(to - from));
  });
}

Verdict Translate(RequestState& state) {
  const auto* settings = HostSettingsFor<VhostAliasSettings>(state);
  if (!settings) return Verdict::Declined();
  state.notes.erase("alias-forced-type");
  constexpr std::string_view kScripts = "/cgi-bin";
  const bool is_script = !settings->scripts.pieces.empty() && state.path.starts_with("/cgi-bin/");
  const Format& format = is_script ? settings->scripts : settings->documents;
  if (format.pieces.empty()) return Verdict::Declined();
  const auto name = format.is_address ? std::optional<std::string>(state.LocalAddress()) : SafeName(state);
  if (!name) return Verdict::Status(400);
  std::string root;
  for (const Piece& piece : format.pieces) {
    switch (piece.kind) {
      case Piece::Kind::kText:
        root += piece.text;
        break;
      case Piece::Kind::kPort:
        root += PortOf(state);
        break;
      case Piece::Kind::kName:
        root += PartOf(piece, *name);
        break;
    }
  }
  while (root.size() > 1 && root.ends_with('/')) root.pop_back();
  const auto normal = NormalPath(root + state.path.substr(is_script ? kScripts.size() : 0));
  const auto normal_root = NormalPath(root);
  if (!normal || !normal_root) return Verdict::Status(403);
  state.root = *normal_root;
  state.file = *normal;
  state.url_root = is_script ? kScripts : "";
  if (is_script) state.notes["alias-forced-type"] = "cgi-script";
  return Verdict::Done();
}

void Repeats(const RequestState& state, Dependencies& on) {
  const auto* settings = HostSettingsFor<VhostAliasSettings>(state);
  if (settings && (settings->documents.is_address || settings->scripts.is_address)) on.OnMore();
}

}  // namespace

const Module kVhostAlias = {.name = {"mod_vhost_alias.c", "vhost_alias_module"},
                            .directives = Directives,
                            .applies = HasSettings<VhostAliasSettings>,
                            .translate = Translate,
                            .type = UseForcedHandler,
                            .repeats = Repeats};

}  // namespace httpd::modules
