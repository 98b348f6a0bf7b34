// mod_mime: what the extensions of a file's name say about its content. Source  httpd 2.4 manual, mod_mime
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/http/ascii.h"
#include "httpd/modules/media_type.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;
using Text = std::optional<std::string>;

/// What one extension stands for. An empty type: none, not even that of TypesConfig (RemoveType).
struct Extension {
  Text type;
  Text encoding;
  Text language;
  Text charset;
  Text handler;
  Text input_filters;
  Text output_filters;

  static constexpr auto kMembers() {
    return std::to_array<Text Extension::*>({&Extension::type, &Extension::encoding, &Extension::language,
                                             &Extension::charset, &Extension::handler, &Extension::input_filters,
                                             &Extension::output_filters});
  }
};

enum MatchBit : unsigned { kMatchNegotiated = 1, kMatchHandlers = 2, kMatchFilters = 4, kMatchAny = 8 };

struct MimeSettings final : config::ModuleSettings {
  std::map<std::string, Extension, std::less<>> extensions;         ///< without dot, lower case
  std::vector<std::pair<std::string, Text Extension::*>> removals;  ///< done after the place's own additions
  Text default_language;
  std::optional<bool> use_path_info;
  std::optional<unsigned> match;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const MimeSettings&>(other);
    auto out = std::make_unique<MimeSettings>(*this);
    for (const auto& [name, extension] : inner.extensions) {
      Extension& mine = out->extensions[name];
      for (const auto member : Extension::kMembers()) {
        if (extension.*member) mine.*member = extension.*member;
      }
    }
    for (const auto& [name, member] : inner.removals) {
      if (const auto found = out->extensions.find(name); found != out->extensions.end()) found->second.*member = {};
    }
    out->removals.clear();
    if (inner.default_language) out->default_language = inner.default_language;
    if (inner.use_path_info) out->use_path_info = inner.use_path_info;
    if (inner.match) out->match = inner.match;
    return out;
  }
};

std::string ExtensionName(const std::string& word) {
  return config::LowerCase(word.starts_with('.') ? word.substr(1) : word);
}

template <Text Extension::*kMember>
Complaint Add(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  // A control character would end a field of the answer.
  if (std::any_of(words[0].begin(), words[0].end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    return node.name + ": a control character cannot be sent";
  }
  for (size_t i = 1; i < words.size(); ++i) {
    auto& settings = config::SettingsOf<MimeSettings>(scope);
    settings.extensions[ExtensionName(words[i])].*kMember = config::LowerCase(words[0]);
  }
  return std::nullopt;
}

template <Text Extension::*kMember>
Complaint Remove(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& settings = config::SettingsOf<MimeSettings>(scope);
  for (const std::string& word : words) settings.removals.emplace_back(ExtensionName(word), kMember);
  return std::nullopt;
}

Complaint RemoveType(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& settings = config::SettingsOf<MimeSettings>(scope);
  for (const std::string& word : words) settings.extensions[ExtensionName(word)].type = "";
  return std::nullopt;
}

Complaint SetDefaultLanguage(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  if (words[0].find_first_of("\r\n") != std::string::npos) return node.name + ": a line end is no language";
  config::SettingsOf<MimeSettings>(scope).default_language = words[0];
  return std::nullopt;
}

Complaint SetUsePathInfo(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  const bool on = config::SameIgnoringCase(words[0], "on");
  if (!on && !config::SameIgnoringCase(words[0], "off")) return node.name + " must be On or Off";
  config::SettingsOf<MimeSettings>(scope).use_path_info = on;
  return std::nullopt;
}

Complaint SetMatch(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& match = config::SettingsOf<MimeSettings>(scope).match;
  for (const std::string& word : words) {
    const unsigned before = match.value_or(0);
    if (config::SameIgnoringCase(word, "Any")) {
      if ((before & ~static_cast<unsigned>(kMatchAny)) != 0) {
        return "Any is incompatible with NegotiatedOnly, Filters and Handlers";
      }
      match = kMatchAny;
    } else if (config::SameIgnoringCase(word, "NegotiatedOnly")) {
      if ((before & ~static_cast<unsigned>(kMatchNegotiated)) != 0) {
        return "NegotiatedOnly is incompatible with Any, Filters and Handlers";
      }
      match = kMatchNegotiated;
    } else if (config::SameIgnoringCase(word, "Filters") || config::SameIgnoringCase(word, "Handlers")) {
      const bool filters = config::SameIgnoringCase(word, "Filters");
      if ((before & (kMatchNegotiated | kMatchAny)) != 0) {
        return std::string(filters ? "Filters" : "Handlers") + " is incompatible with Any and NegotiatedOnly";
      }
      match = before | (filters ? kMatchFilters : kMatchHandlers);
    } else {
      return "Unrecognized option '" + word + "'";
    }
  }
  return std::nullopt;
}

Complaint SetTypesConfig(config::Builder& builder, Scope&, const Node&, const Words& words) {
  builder.config().types_config = builder.Absolute(words[0]);
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  constexpr unsigned kFile = config::kAnywhere | config::kOverrideFileInfo;
  static constexpr char kModule[] = "mod_mime.c";
  static constexpr char kToExtensions[] = "one or more file extensions";
  static const std::vector<config::Directive> table = {
      {"AddCharset", kModule, kFile, Arity::kAtLeastTwo,
       "a charset (e.g., iso-2022-jp), followed by one or more file extensions", OnRead::kNo, Add<&Extension::charset>,
       "charset extension [extension] ...", "", "Files with the extension are sent with charset= in Content-Type."},
      {"AddEncoding", kModule, kFile, Arity::kAtLeastTwo,
       "an encoding (e.g., gzip), followed by one or more file extensions", OnRead::kNo, Add<&Extension::encoding>,
       "encoding extension [extension] ...", "",
       "Files with the extension are sent with Content-Encoding; several encodings add up, the innermost first."},
      {"AddHandler", kModule, kFile, Arity::kAtLeastTwo, "a handler name followed by one or more file extensions",
       OnRead::kNo, Add<&Extension::handler>, "handler-name extension [extension] ...", "",
       "Files with the extension are answered by the handler: type-map, send-as-is, server-status..."},
      {"AddInputFilter", kModule, kFile, Arity::kAtLeastTwo,
       "input filter name (or ; delimited names) followed by one or more file extensions", OnRead::kNo,
       Add<&Extension::input_filters>, "filter[;filter...] extension [extension] ...", "",
       "Bodies of requests for files with the extension go through the filters."},
      {"AddLanguage", kModule, kFile, Arity::kAtLeastTwo,
       "a language (e.g., fr), followed by one or more file extensions", OnRead::kNo, Add<&Extension::language>,
       "language-tag extension [extension] ...", "",
       "Files with the extension are sent with Content-Language, and MultiViews chooses among them by "
       "Accept-Language."},
      {"AddOutputFilter", kModule, kFile, Arity::kAtLeastTwo,
       "output filter name (or ; delimited names) followed by one or more file extensions", OnRead::kNo,
       Add<&Extension::output_filters>, "filter[;filter...] extension [extension] ...", "",
       "Files with the extension go through the filters."},
      {"AddType", kModule, kFile, Arity::kAtLeastTwo, "a mime type followed by one or more file extensions",
       OnRead::kNo, Add<&Extension::type>, "media-type extension [extension] ...", "",
       "The media type of files with the extension; wins over TypesConfig."},
      {"DefaultLanguage", kModule, kFile, Arity::kOne,
       "language to use for documents with no other language file extension", OnRead::kNo, SetDefaultLanguage,
       "language-tag"},
      {"MultiviewsMatch", kModule, kFile, Arity::kAtLeastOne,
       "NegotiatedOnly (default), Handlers and/or Filters, or Any", OnRead::kNo, SetMatch,
       "Any|NegotiatedOnly|Filters|Handlers [Handlers|Filters]", "NegotiatedOnly",
       "Which files MultiViews takes into account: extensions that say nothing about the content must be asked for by "
       "name, unless this says that those with handlers or filters, or all, match."},
      {"RemoveCharset", kModule, kFile, Arity::kAtLeastOne, kToExtensions, OnRead::kNo, Remove<&Extension::charset>,
       "extension [extension] ..."},
      {"RemoveEncoding", kModule, kFile, Arity::kAtLeastOne, kToExtensions, OnRead::kNo, Remove<&Extension::encoding>,
       "extension [extension] ..."},
      {"RemoveHandler", kModule, kFile, Arity::kAtLeastOne, kToExtensions, OnRead::kNo, Remove<&Extension::handler>,
       "extension [extension] ..."},
      {"RemoveInputFilter", kModule, kFile, Arity::kAtLeastOne, kToExtensions, OnRead::kNo,
       Remove<&Extension::input_filters>, "extension [extension] ..."},
      {"RemoveLanguage", kModule, kFile, Arity::kAtLeastOne, kToExtensions, OnRead::kNo, Remove<&Extension::language>,
       "extension [extension] ..."},
      {"RemoveOutputFilter", kModule, kFile, Arity::kAtLeastOne, kToExtensions, OnRead::kNo,
       Remove<&Extension::output_filters>, "extension [extension] ..."},
      {"RemoveType", kModule, kFile, Arity::kAtLeastOne, kToExtensions, OnRead::kNo, RemoveType,
       "extension [extension] ...", "", "Files with the extension have no media type, whatever TypesConfig says."},
      {"TypesConfig", kModule, config::kInServer, Arity::kOne, "the MIME types config file", OnRead::kNo,
       SetTypesConfig, "file-path", "a built-in table",
       "The file that says which media type an extension stands for, one \"type ext ext...\" a line."},
      {"ModMimeUsePathInfo", kModule, config::kInSection, Arity::kFlag,
       "Set to 'yes' to allow mod_mime to use path info for type checking", OnRead::kNo, SetUsePathInfo, "On|Off",
       "Off"},
  };
  return table;
}

void AddFilters(const std::string& list, std::vector<std::string>& out) {
  for (size_t at = 0; at <= list.size();) {
    const size_t end = std::min(list.find(';', at), list.size());
    if (end > at) out.push_back(list.substr(at, end - at));
    at = end + 1;
  }
}

/// Reads the extensions of a name into what is known of the file.
class NameReader {
 public:
  NameReader(RequestState& state, const MimeSettings* settings) : state_(state), settings_(settings) {}

  void Read(std::string_view name) {
    const size_t base_end = std::min(name.find('.', std::min(name.find_first_not_of('.'), name.size())), name.size());
    const bool keep_parts = state_.is_subrequest();
    if (keep_parts) state_.name_parts.assign(1, std::string(name.substr(0, base_end)));
    for (size_t at = base_end; at < name.size();) {
      const size_t end = std::min(name.find('.', at + 1), name.size());
      const std::string_view extension = name.substr(at + 1, end - at - 1);
      at = end;
      if (extension.empty()) continue;
      if (Says(extension) || (match() & kMatchAny) != 0) {
        found_ = true;
      } else if (keep_parts) {
        state_.name_parts.emplace_back(extension);
      }
    }
    if (!found_) state_.name_parts.clear();
  }

 private:
  unsigned match() const { return settings_ ? settings_->match.value_or(0) : 0; }

  /// Whether the extension says something about the content.
  bool Says(std::string_view extension) {
    lower_.assign(extension);
    std::transform(lower_.begin(), lower_.end(), lower_.begin(), http::Lower);
    const Extension* known = nullptr;
    if (settings_) {
      const auto found = settings_->extensions.find(lower_);
      if (found != settings_->extensions.end()) known = &found->second;
    }
    bool says = false;
    if (!known || !known->type) {
      const std::string_view type = state_.engine->site().types().ByExtension(lower_);
      if (!type.empty()) state_.media_type = type;
      says = !type.empty();
    }
    if (!known) return says;
    if (known->type && !known->type->empty()) {
      state_.media_type = *known->type;
      says = true;
    }
    if (known->charset) {
      state_.charset = *known->charset;
      says = true;
    }
    if (known->language) {
      state_.languages.push_back(*known->language);
      says = true;
    }
    if (known->encoding) {
      state_.encodings.push_back(*known->encoding);
      says = true;
    }
    // These say how it is made, not what it is: such files are found by their full name only.
    if (known->handler) {
      state_.handler = *known->handler;
      says = says || (match() & kMatchHandlers) != 0;
    }
    if (known->input_filters || known->output_filters) {
      if (known->input_filters) AddFilters(*known->input_filters, state_.input_filters);
      if (known->output_filters) AddFilters(*known->output_filters, state_.output_filters);
      says = says || (match() & kMatchFilters) != 0;
    }
    return says;
  }

  RequestState& state_;
  const MimeSettings* settings_;
  std::string lower_;
  bool found_ = false;
};

Verdict Type(RequestState& state) {
  if (S_ISDIR(state.info.st_mode)) return Verdict::Declined();
  const auto* settings = SettingsFor<MimeSettings>(state);
  NameReader reader(state, settings);
  if (settings && settings->use_path_info.value_or(false)) {
    const std::string whole = state.file + state.path_info;
    reader.Read(std::string_view(whole).substr(whole.rfind('/') + 1));
  } else {
    reader.Read(std::string_view(state.file).substr(state.file.rfind('/') + 1));
  }
  if (!state.media_type.empty()) state.media_type = WithCharset(state.media_type, state.charset);
  if (state.languages.empty() && settings && settings->default_language) {
    state.languages.push_back(*settings->default_language);
  }
  return Verdict::Declined();
}

}  // namespace

const Module kMime = {.name = {"mod_mime.c", "mime_module"},
                      .directives = Directives,
                      .always = true,
                      .type = Type,
                      .repeats = DependsOnNothing};

}  // namespace httpd::modules
