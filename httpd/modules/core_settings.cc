#include "httpd/modules/core_settings.h"

#include <algorithm>
#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/static_file.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::SameIgnoringCase;
using config::Scope;
using Words = std::vector<std::string>;

constexpr unsigned kDefaultEtag = kEtagMtime | kEtagSize;

CoreSettings& Own(Scope& scope) {
  return config::SettingsOf<CoreSettings>(scope);
}

bool HasControl(const std::string& word) {
  return std::any_of(word.begin(), word.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

template <std::optional<std::string> CoreSettings::*kMember>
Complaint SetText(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  if (HasControl(words[0])) return node.name + ": a control character cannot be sent";
  Own(scope).*kMember = SameIgnoringCase(words[0], "none") ? "" : words[0];
  return std::nullopt;
}

template <std::optional<bool> CoreSettings::*kMember>
Complaint SetFlag(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  bool value = false;
  if (auto complaint = config::TakeFlag(node, words[0], value)) return complaint;
  Own(scope).*kMember = value;
  return std::nullopt;
}

template <std::optional<bool> CoreSettings::*kMember>
Complaint SetSwitch(config::Builder&, Scope& scope, const Node&, const Words& words) {
  const bool on = SameIgnoringCase(words[0], "on");
  if (!on && !SameIgnoringCase(words[0], "off")) return "parameter must be 'on' or 'off'";
  Own(scope).*kMember = on;
  return std::nullopt;
}

Complaint SetDefaultCharset(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  if (HasControl(words[0])) return node.name + ": a control character cannot be sent";
  auto& charset = Own(scope).default_charset;
  charset = SameIgnoringCase(words[0], "off") ? "" : SameIgnoringCase(words[0], "on") ? "iso-8859-1" : words[0];
  return std::nullopt;
}

Complaint SetEtag(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  static const std::pair<const char*, unsigned> kNames[] = {
      {"None", 0},           {"All", kEtagInode | kEtagMtime | kEtagSize},
      {"INode", kEtagInode}, {"MTime", kEtagMtime},
      {"Size", kEtagSize},   {"Digest", kEtagDigest}};
  CoreSettings& settings = Own(scope);
  bool absolute_seen = false;
  for (const std::string& word : words) {
    const char sign = word.starts_with('+') || word.starts_with('-') ? word[0] : ' ';
    const std::string name = word.substr(sign == ' ' ? 0 : 1);
    const auto found = std::find_if(std::begin(kNames), std::end(kNames),
                                    [&](const auto& known) { return SameIgnoringCase(name, known.first); });
    if (found == std::end(kNames)) return "Unknown keyword '" + name + "' for " + node.name + " directive";
    const unsigned bits = found->second;
    const bool is_group = SameIgnoringCase(name, "None") || SameIgnoringCase(name, "All");
    if (sign != ' ' && is_group) return node.name + " keyword '" + name + "' cannot be used with '+' or '-'";
    if (sign == '+') {
      settings.etag_add |= bits;
      settings.etag_remove &= ~bits;
    } else if (sign == '-') {
      settings.etag_remove |= bits;
      settings.etag_add &= ~bits;
    } else {
      settings.etag = is_group || !absolute_seen ? bits : settings.etag.value_or(0) | bits;
      settings.etag_add = settings.etag_remove = 0;
      absolute_seen = true;
    }
  }
  return std::nullopt;
}

template <std::optional<size_t> CoreSettings::*kMember, size_t http::RangeLimits::*kDefault>
Complaint SetLimit(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  auto& limit = Own(scope).*kMember;
  if (SameIgnoringCase(words[0], "none")) {
    limit = 0;
  } else if (SameIgnoringCase(words[0], "unlimited")) {
    limit = SIZE_MAX;
  } else if (SameIgnoringCase(words[0], "default")) {
    limit = http::RangeLimits().*kDefault;
  } else {
    const auto number = config::Number(words[0]);
    if (!number || *number <= 0) {
      return node.name + " requires 'none', 'default', 'unlimited' or a positive integer";
    }
    limit = static_cast<size_t>(*number);
  }
  return std::nullopt;
}

Complaint SetPathInfo(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& accepts = Own(scope).path_info;
  if (SameIgnoringCase(words[0], "on")) {
    accepts = std::optional<bool>(true);
  } else if (SameIgnoringCase(words[0], "off")) {
    accepts = std::optional<bool>(false);
  } else if (SameIgnoringCase(words[0], "default")) {
    accepts = std::optional<bool>();
  } else {
    return "AcceptPathInfo must be set to on, off or default";
  }
  return std::nullopt;
}

Complaint SetBodyLimit(config::Builder&, Scope& scope, const Node&, const Words& words) {
  const auto value = config::Number(words[0]);
  if (!value || *value < 0) return "LimitRequestBody requires a non-negative integer.";
  Own(scope).body_limit = static_cast<unsigned long long>(*value);
  return std::nullopt;
}

Complaint SetSignature(config::Builder&, Scope& scope, const Node&, const Words& words) {
  for (const char* value : {"Off", "On", "EMail"}) {
    if (!SameIgnoringCase(words[0], value)) continue;
    Own(scope).signature = value;
    return std::nullopt;
  }
  return "ServerSignature: use one of: off | on | email";
}

Complaint SetCanonicalName(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& name = Own(scope).canonical_name;
  if (SameIgnoringCase(words[0], "on")) {
    name = CoreSettings::CanonicalName::kOn;
  } else if (SameIgnoringCase(words[0], "off")) {
    name = CoreSettings::CanonicalName::kOff;
  } else if (SameIgnoringCase(words[0], "dns")) {
    return "UseCanonicalName DNS is not supported: a name server must not delay requests. Use On or Off";
  } else {
    return "parameter must be 'on', 'off', or 'dns'";
  }
  return std::nullopt;
}

Complaint SetEncodedSlashes(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  using Slashes = CoreSettings::EncodedSlashes;
  static const std::pair<const char*, Slashes> kNames[] = {
      {"on", Slashes::kOn}, {"off", Slashes::kOff}, {"nodecode", Slashes::kNoDecode}};
  for (const auto& [name, value] : kNames) {
    if (!SameIgnoringCase(words[0], name)) continue;
    Own(scope).encoded_slashes = value;
    return std::nullopt;
  }
  return node.name + " must be On, Off, or NoDecode";
}

Complaint SetRecursion(config::Builder& builder, Scope&, const Node& node, const Words& words) {
  int* const limits[] = {&builder.config().max_internal_redirects, &builder.config().max_subrequest_depth};
  for (size_t i = 0; i < 2; ++i) {
    const auto value = config::Number(words[std::min(i, words.size() - 1)]);
    if (!value || *value <= 0 || *value > 1000) return "The recursion limit must be greater than zero.";
    *limits[i] = static_cast<int>(*value);
    if (*value < 4 && i < words.size()) {
      builder.Warn(node, i == 0 ? "AH00105: Limiting internal redirects to very low numbers may cause normal requests "
                                  "to fail."
                                : "AH00106: Limiting the subrequest depth to a very low level may cause normal "
                                  "requests to fail.");
    }
  }
  return std::nullopt;
}

/// The defaults that patterns have here; others would have to reach every pattern that is compiled later.
Complaint SetRegexDefaults(config::Builder&, Scope&, const Node& node, const Words& words) {
  for (const std::string& word : words) {
    const std::string name = word.substr(word.starts_with('+') || word.starts_with('-') ? 1 : 0);
    static const char* const kKnown[] = {"ICASE", "EXTENDED", "DOTALL", "DOLLAR_ENDONLY"};
    const bool known = std::any_of(std::begin(kKnown), std::end(kKnown),
                                   [&](const char* option) { return SameIgnoringCase(name, option); });
    if (!known && !SameIgnoringCase(word, "none")) {
      return node.name + ": option '" + name + "' unknown";
    }
    const bool is_on = SameIgnoringCase(name, "DOTALL") || SameIgnoringCase(name, "DOLLAR_ENDONLY");
    if (!known || word.starts_with('-') == is_on) {
      return node.name + " " + word +
             " is not supported: the defaults are DOTALL DOLLAR_ENDONLY. Begin a pattern with (?i) or (?x) instead";
    }
  }
  return std::nullopt;
}

template <class T>
void Take(std::optional<T>& out, const std::optional<T>& inner) {
  if (inner) out = inner;
}

}  // namespace

std::unique_ptr<config::ModuleSettings> CoreSettings::MergedWith(const ModuleSettings& other) const {
  const auto& inner = static_cast<const CoreSettings&>(other);
  auto out = std::make_unique<CoreSettings>(*this);
  Take(out->media_type, inner.media_type);
  Take(out->handler, inner.handler);
  Take(out->default_charset, inner.default_charset);
  if (inner.etag) {
    out->etag = inner.etag;
    out->etag_add = inner.etag_add;
    out->etag_remove = inner.etag_remove;
  } else {
    out->etag_add = (etag_add | inner.etag_add) & ~inner.etag_remove;
    out->etag_remove = (etag_remove | inner.etag_remove) & ~inner.etag_add;
  }
  Take(out->ranges, inner.ranges);
  Take(out->overlaps, inner.overlaps);
  Take(out->reversals, inner.reversals);
  Take(out->use_sendfile, inner.use_sendfile);
  Take(out->content_digest, inner.content_digest);
  Take(out->path_info, inner.path_info);
  Take(out->body_limit, inner.body_limit);
  Take(out->signature, inner.signature);
  Take(out->canonical_name, inner.canonical_name);
  Take(out->canonical_physical_port, inner.canonical_physical_port);
  Take(out->qualify_redirect_url, inner.qualify_redirect_url);
  Take(out->encoded_slashes, inner.encoded_slashes);
  Take(out->merge_slashes, inner.merge_slashes);
  return out;
}

unsigned CoreSettings::EtagBits() const {
  return (etag.value_or(kDefaultEtag) | etag_add) & ~etag_remove;
}

http::RangeLimits CoreSettings::Limits() const {
  const http::RangeLimits by_default;
  return {ranges.value_or(by_default.ranges), overlaps.value_or(by_default.overlaps),
          reversals.value_or(by_default.reversals)};
}

const std::vector<config::Directive>& CoreDirectives() {
  using config::Arity;
  using config::OnRead;
  constexpr unsigned kFile = config::kAnywhere | config::kOverrideFileInfo;
  static constexpr char kModule[] = "core.c";
  static constexpr char kLimit[] = "none|unlimited|default|number";
  using L = http::RangeLimits;
  using S = CoreSettings;
  static const std::vector<config::Directive> table = {
      {"SetHandler", kModule, kFile, Arity::kOne, "a handler name that overrides any other configured handler",
       OnRead::kNo, SetText<&S::handler>, "handler-name|none"},
      {"ForceType", kModule, kFile, Arity::kOne, "a mime type that overrides other configured type", OnRead::kNo,
       SetText<&S::media_type>, "media-type|None"},
      {"AddDefaultCharset", kModule, kFile, Arity::kOne,
       "The name of the default charset to add to any Content-Type without one or 'Off' to disable", OnRead::kNo,
       SetDefaultCharset, "On|Off|charset", "Off", "For text/plain and text/html; On stands for iso-8859-1."},
      {"AcceptPathInfo", kModule, kFile, Arity::kOne,
       "Set to on or off for PATH_INFO to be accepted by handlers, or default for the per-handler preference",
       OnRead::kNo, SetPathInfo, "On|Off|Default", "Default",
       "Whether a URL may go on behind the name of an existing file. Default: files refuse it, programs take it."},
      {"FileETag", kModule, kFile, Arity::kAny, "Specify components used to construct a file's ETag", OnRead::kNo,
       SetEtag, "component ...", "MTime Size",
       "INode, MTime, Size, All of them, Digest (SHA-1 of the content, of files up to 16 MiB) or None; with + or - "
       "what "
       "holds around is changed."},
      {"EnableSendfile", kModule, kFile, Arity::kOne, "Controls whether sendfile may be used to transmit files",
       OnRead::kNo, SetSwitch<&S::use_sendfile>, "On|Off", "On"},
      {"ContentDigest", kModule, config::kAnywhere | config::kOverrideOptions, Arity::kFlag,
       "whether or not to send a Content-MD5 header with each request", OnRead::kNo, SetFlag<&S::content_digest>,
       "On|Off", "Off", "For files up to 16 MiB."},
      {"MaxRanges", kModule, config::kAnywhere, Arity::kOne,
       "Maximum number of Ranges in a request before returning the entire resource, or 0 for unlimited", OnRead::kNo,
       SetLimit<&S::ranges, &L::ranges>, kLimit, "200", "none: ranges are not served at all."},
      {"MaxRangeOverlaps", kModule, config::kAnywhere, Arity::kOne,
       "Maximum number of overlaps in Ranges in a request before returning the entire resource, or 0 for unlimited",
       OnRead::kNo, SetLimit<&S::overlaps, &L::overlaps>, kLimit, "20"},
      {"MaxRangeReversals", kModule, config::kAnywhere, Arity::kOne,
       "Maximum number of reversals in Ranges in a request before returning the entire resource, or 0 for unlimited",
       OnRead::kNo, SetLimit<&S::reversals, &L::reversals>, kLimit, "20"},
      {"LimitRequestBody", kModule, config::kAnywhere | config::kOverrideAny, Arity::kOne,
       "Limit (in bytes) on maximum size of request message body", OnRead::kNo, SetBodyLimit, "bytes", "1073741824",
       "A request whose body is longer is answered 413. 0: no limit."},
      {"ServerSignature", kModule, config::kAnywhere | config::kOverrideAny, Arity::kOne,
       "En-/disable server signature (on|off|email)", OnRead::kNo, SetSignature, "On|Off|EMail", "Off",
       "A line with the server's name under the pages that it writes itself; EMail links ServerAdmin in it."},
      {"UseCanonicalName", kModule, config::kAnywhere, Arity::kOne,
       "How to work out the ServerName : Port when constructing URLs", OnRead::kNo, SetCanonicalName, "On|Off", "Off",
       "On: URLs that lead back here are made of ServerName, Off: of what the client said."},
      {"UseCanonicalPhysicalPort", kModule, config::kAnywhere, Arity::kOne,
       "Whether to use the physical Port when constructing URLs", OnRead::kNo, SetSwitch<&S::canonical_physical_port>,
       "On|Off", "Off"},
      {"QualifyRedirectURL", kModule, kFile, Arity::kFlag,
       "Controls whether the REDIRECT_URL environment variable is fully qualified", OnRead::kNo,
       SetFlag<&S::qualify_redirect_url>, "On|Off", "Off"},
      {"AllowEncodedSlashes", kModule, config::kInHosts, Arity::kOne, "Allow URLs containing '/' encoded as '%2F'",
       OnRead::kNo, SetEncodedSlashes, "On|Off|NoDecode", "Off",
       "Off: such URLs are answered 404. On: they are slashes. NoDecode: they stay %2F."},
      {"MergeSlashes", kModule, config::kInHosts, Arity::kFlag,
       "Controls whether consecutive slashes in the URI path are merged", OnRead::kNo, SetFlag<&S::merge_slashes>,
       "On|Off", "On"},
      {"LimitInternalRecursion", kModule, config::kInHosts, Arity::kOneOrTwo,
       "maximum recursion depth of internal redirects and subrequests", OnRead::kNo, SetRecursion, "number [number]",
       "10"},
      {"RegexDefaultOptions", kModule, config::kInServer, Arity::kAtLeastOne,
       "default options for regexes (prefixed by '+' to add, '-' to del)", OnRead::kNo, SetRegexDefaults,
       "[none] [+|-]option [[+|-]option] ...", "DOTALL DOLLAR_ENDONLY"},
  };
  return table;
}

}  // namespace httpd::modules
