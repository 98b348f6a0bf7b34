// mod_negotiation: MultiViews and type maps. Source  httpd 2.4 manual, mod_negotiation and content-negotiation.html
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/negotiation_select.h"
#include "httpd/modules/static_file.h"
#include "os/file.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::LogLevel;
using config::Node;
using config::Scope;
using negotiation::Negotiation;
using negotiation::Variant;
using Words = std::vector<std::string>;

constexpr size_t kMaxMapSize = 1U << 20;
constexpr size_t kMaxNames = 100000;  ///< of a directory; more are not looked at
constexpr size_t kMaxVariants = 200;  ///< of one name
constexpr size_t kMaxDirectories = 64;
constexpr char kMapType[] = "application/x-type-map";
constexpr char kProgramType[] = "application/x-httpd-cgi";

struct NegotiationSettings final : config::ModuleSettings {
  std::optional<Words> priority;
  std::optional<unsigned> force;
  std::optional<bool> cache_documents;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const NegotiationSettings&>(other);
    auto out = std::make_unique<NegotiationSettings>(*this);
    if (inner.priority) out->priority = inner.priority;
    if (inner.force) out->force = inner.force;
    if (inner.cache_documents) out->cache_documents = inner.cache_documents;
    return out;
  }
};

Complaint AddPriority(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& priority = config::SettingsOf<NegotiationSettings>(scope).priority;
  if (!priority) priority.emplace();
  priority->insert(priority->end(), words.begin(), words.end());
  return std::nullopt;
}

Complaint SetForce(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& force = config::SettingsOf<NegotiationSettings>(scope).force;
  for (const std::string& word : words) {
    const unsigned before = force.value_or(0);
    if (config::SameIgnoringCase(word, "None")) {
      if ((before & ~static_cast<unsigned>(negotiation::kForceNone)) != 0) {
        return "Cannot combine ForceLanguagePriority options with None";
      }
      force = negotiation::kForceNone;
      continue;
    }
    const bool prefers = config::SameIgnoringCase(word, "Prefer");
    if (!prefers && !config::SameIgnoringCase(word, "Fallback")) {
      return "Invalid ForceLanguagePriority option " + word;
    }
    if ((before & negotiation::kForceNone) != 0) {
      return "Cannot combine ForceLanguagePriority options with None";
    }
    force = before | (prefers ? negotiation::kForcePrefer : negotiation::kForceFallback);
  }
  return std::nullopt;
}

Complaint SetCacheDocuments(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  const bool on = config::SameIgnoringCase(words[0], "on");
  if (!on && !config::SameIgnoringCase(words[0], "off")) return node.name + " must be On or Off";
  config::SettingsOf<NegotiationSettings>(scope).cache_documents = on;
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  constexpr unsigned kFile = config::kAnywhere | config::kOverrideFileInfo;
  static constexpr char kModule[] = "mod_negotiation.c";
  static const std::vector<config::Directive> table = {
      {"CacheNegotiatedDocs", kModule, config::kInHosts, Arity::kFlag, "Either 'on' or 'off' (default)", OnRead::kNo,
       SetCacheDocuments, "On|Off", "Off",
       "Off: answers that were negotiated for an HTTP/1.0 client expire at once, since it knows no Vary."},
      {"LanguagePriority", kModule, kFile, Arity::kAtLeastOne, "space-delimited list of MIME language abbreviations",
       OnRead::kNo, AddPriority, "language-tag [language-tag] ...", "",
       "Which language is preferred where the client's wishes do not decide; see ForceLanguagePriority."},
      {"ForceLanguagePriority", kModule, kFile, Arity::kAtLeastOne,
       "Force LanguagePriority elections, either None, or Fallback and/or Prefer", OnRead::kNo, SetForce,
       "None|Prefer|Fallback [Prefer|Fallback]", "Prefer",
       "Prefer: LanguagePriority decides among languages that the client likes equally, instead of answer 300. "
       "Fallback: it also decides when the client accepts none of them, instead of answer 406."},
  };
  return table;
}

/// The names in a directory that have extensions, sorted. Remembered per thread as long as the directory does not
/// change; one that has just changed may change again within the same tick of its time stamp and is read again.
const std::vector<std::string>* NamesIn(const std::string& directory, const RequestState& state, struct stat& status) {
  struct Listing {
    struct stat status {};
    std::vector<std::string> names;
  };
  static thread_local std::map<std::string, Listing> cache;
  os::Result<os::Fd> opened = os::Open(directory, O_RDONLY | O_DIRECTORY);
  if (!opened || ::fstat(opened.value().get(), &status) != 0) return nullptr;
  auto found = cache.find(directory);
  if (found != cache.end()) {
    const struct stat& before = found->second.status;
    if (before.st_ino == status.st_ino && before.st_dev == status.st_dev &&
        before.st_mtim.tv_sec == status.st_mtim.tv_sec && before.st_mtim.tv_nsec == status.st_mtim.tv_nsec) {
      return &found->second.names;
    }
  } else if (cache.size() >= kMaxDirectories) {
    cache.erase(cache.begin());
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(opened.value().get()), ::closedir);
  if (!stream) return nullptr;
  (void)opened.value().Release();  // the stream's now
  Listing& listing = cache[directory];
  listing.names.clear();
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR || name.find('.', 1) == std::string_view::npos) continue;
    if (listing.names.size() >= kMaxNames) {
      state.engine->LogError(state, LogLevel::kWarn, "negotiation",
                             "MultiViews looks at " + std::to_string(kMaxNames) + " files at most: " + directory);
      break;
    }
    listing.names.emplace_back(name);
  }
  std::sort(listing.names.begin(), listing.names.end());
  listing.status = status;
  constexpr auto kSettled = std::chrono::seconds(2);
  const auto changed = std::chrono::system_clock::from_time_t(status.st_mtim.tv_sec);
  if (state.request->start < changed + kSettled) listing.status.st_ino = 0;  // never equal
  return &listing.names;
}

Negotiation Begin(const RequestState& state) {
  const auto field = [&](const char* name, std::string& joined) -> std::string_view {
    const std::string_view first = state.Header(name);
    if (first.data() == nullptr) return {};
    joined = Joined(state.head(), name);
    return joined;
  };
  std::string accept, language, encoding, charset, negotiate;
  Negotiation::Fields fields;
  fields.accept = field("Accept", accept);
  fields.language = field("Accept-Language", language);
  fields.encoding = field("Accept-Encoding", encoding);
  fields.charset = field("Accept-Charset", charset);
  fields.negotiate = field("Negotiate", negotiate);
  fields.user_agent = state.Header("User-Agent");
  Negotiation out(fields);
  if (const auto* settings = SettingsFor<NegotiationSettings>(state)) {
    if (settings->priority) out.priority = *settings->priority;
    out.force = settings->force.value_or(negotiation::kForcePrefer);
  }
  if (const std::string* language_wanted = state.environment.Find("prefer-language")) {
    out.preferred_language = *language_wanted;
  }
  return out;
}

/// Whether what the name of a file says nothing about is said by the URL, in its order: index.html.foo is found as
/// index.foo, but not as index.
bool NamesTheRest(std::string_view asked, const std::vector<std::string>& parts) {
  size_t next = 0;
  for (size_t at = 0; at <= asked.size() && next < parts.size();) {
    const size_t end = std::min(asked.find('.', at), asked.size());
    if (asked.substr(at, end - at) == parts[next]) ++next;
    at = end + 1;
  }
  return next == parts.size();
}

/// A look-up asks what there is, whatever is going to be done with it.
bool IsGet(const RequestState& state) {
  const http::Method method = state.head().method;
  return method == http::Method::kGet || method == http::Method::kHead || state.is_subrequest();
}

/// Reads the map that `map` is. @return Declined, or why not
Verdict ReadMap(const RequestState& map, Negotiation& out, std::string& text) {
  const auto refuse = [&map](LogLevel level, const std::string& why, int status) {
    map.engine->LogError(map, level, "negotiation", why);
    return Verdict::Status(status);
  };
  auto opened = OpenForServing(map.root, map.file, map.settings->options);
  if (!opened || !S_ISREG(opened.value().status.st_mode)) {
    return refuse(LogLevel::kError, "AH00685: cannot access type map file: " + map.file,
                  !opened && opened.error().kind == os::ErrorKind::kNotFound ? 404 : 403);
  }
  const OpenedFile& file = opened.value();
  if (static_cast<size_t>(file.status.st_size) > kMaxMapSize) {
    return refuse(LogLevel::kError, "type map is larger than 1 MiB: " + map.file, 500);
  }
  text.resize(static_cast<size_t>(file.status.st_size));
  ssize_t got = 0;
  do {
    got = ::pread(file.fd.get(), text.data(), text.size(), 0);
  } while (got < 0 && errno == EINTR);
  text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  std::string problem;
  auto variants = negotiation::ParseTypeMap(text, std::string_view(map.file).substr(map.file.rfind('/') + 1), problem);
  if (!variants) return refuse(LogLevel::kError, "Syntax error in type map, " + problem + ": " + map.file, 500);
  out.variants = std::move(*variants);
  return Verdict::Declined();
}

/// Lengths of variants that are files, for choosing and for Alternates.
void FindLengths(const RequestState& state, Negotiation& negotiation) {
  const std::string directory = state.file.substr(0, state.file.rfind('/') + 1);
  for (Variant& variant : negotiation.variants) {
    if (variant.bytes) continue;
    struct stat status {};
    if (variant.file_name.find('/') == std::string::npos &&
        ::stat((directory + variant.file_name.substr(0, variant.file_name.find('?'))).c_str(), &status) == 0) {
      variant.bytes = status.st_size;
    }
  }
}

/// Value merged into the list that the field may be already.
void MergeField(std::string& fields, const char* name, const std::string& value) {
  if (value.empty()) return;
  std::string before(FindField(fields, name));
  RemoveField(fields, name);
  AppendField(fields, name, before.empty() ? value : before + ", " + value);
}

void SetFields(RequestState& state, const Negotiation& negotiation, bool is_choice) {
  std::string& fields = state.response->fields;
  MergeField(fields, "Alternates", negotiation.Alternates());
  MergeField(fields, "Vary", negotiation.Vary());
  if (negotiation.is_transparent()) {
    RemoveField(fields, "TCN");
    AppendField(fields, "TCN", is_choice ? "choice" : "list");
  }
}

/// What a type map names. Through its URL when it lies elsewhere: `..` is resolved, and cannot lead out.
std::unique_ptr<RequestState> LookUpVariant(RequestState& state, const std::string& name) {
  if (name.find('/') == std::string::npos) return state.engine->LookUpFile(state, name);
  const std::string directory = state.path.substr(0, state.path.rfind('/') + 1);
  auto path = http::DecodePath(http::EscapePath(directory) + name);
  return state.engine->LookUp(state, path ? path.value() : "/");
}

/// What a chosen variant of a transparent resource needs besides. @return Declined, or why it cannot be sent
Verdict PrepareChoice(RequestState& state, Variant& variant) {
  if (!variant.found) {
    variant.found = LookUpVariant(state, variant.file_name);
    const RequestState& found = *variant.found;
    if (found.status != 200 && FindField(found.response->fields, "TCN").data() == nullptr) {
      return Verdict::Status(found.status);
    }
  }
  RequestState& found = *variant.found;
  // A variant that is negotiated itself. Source  RFC 2295 8.1
  if (FindField(found.response->fields, "TCN").data() != nullptr || found.handler == "type-map") {
    return Verdict::Status(506);
  }
  std::string& fields = state.response->fields;
  if (const std::string vary(FindField(found.response->fields, "Vary")); !vary.empty()) {
    AppendField(fields, "Variant-Vary", vary);
    MergeField(fields, "Vary", vary);
    RemoveField(found.response->fields, "Vary");
  }
  RemoveField(fields, "Content-Location");
  AppendField(fields, "Content-Location", http::EscapePath("/" + variant.file_name).substr(1));
  return Verdict::Declined();
}

/// @return Done with `best` set, or the status to end with
Verdict Decide(RequestState& state, Negotiation& negotiation, bool prefer_scripts, Variant*& best) {
  FindLengths(state, negotiation);
  best = negotiation.Choose(IsGet(state), !state.path_info.empty(), prefer_scripts);
  if (!best) {
    SetFields(state, negotiation, false);
    state.notes["variant-list"] = negotiation.ListHtml();
    if (negotiation.wants_list()) return Verdict::Status(300);
    state.engine->LogError(state, LogLevel::kError, "negotiation", "AH00690: no acceptable variant: " + state.file);
    return Verdict::Status(406);
  }
  if (negotiation.is_transparent()) {
    if (const Verdict prepared = PrepareChoice(state, *best); !prepared.is(Verdict::Kind::kDeclined)) return prepared;
  }
  SetFields(state, negotiation, true);
  return Verdict::Done();
}

std::string ListValidator(const struct stat& status, unsigned bits) {
  const std::string etag = EtagOf(status, bits, std::chrono::system_clock::time_point::max());
  return etag.substr(1, etag.size() - 2);
}

/// MultiViews: what is asked for does not exist, but files that begin with its name do.
Verdict Type(RequestState& state) {
  if (state.exists() || (state.settings->options & config::kOptMultiViews) == 0 || !state.file.starts_with('/')) {
    return Verdict::Declined();
  }
  const size_t slash = state.file.rfind('/');
  const std::string directory = state.file.substr(0, slash + 1);
  const std::string asked = state.file.substr(slash + 1);
  struct stat status {};
  const std::vector<std::string>* names = NamesIn(directory, state, status);
  if (!names) {
    state.engine->LogError(state, LogLevel::kError, "negotiation",
                           "AH00686: cannot read directory for multi: " + directory);
    return Verdict::Status(403);
  }
  const std::string prefix = asked + ".";
  const auto first = std::lower_bound(names->begin(), names->end(), prefix);
  if (first == names->end() || !first->starts_with(prefix)) return Verdict::Declined();
  Words matching;  // a copy: looking one up may read the directory anew
  for (auto name = first; name != names->end() && name->starts_with(prefix) && matching.size() < kMaxVariants; ++name) {
    matching.push_back(*name);
  }
  Negotiation negotiation = Begin(state);
  for (const std::string& name : matching) {
    auto found = state.engine->LookUpFile(state, name);
    if (!S_ISREG(found->info.st_mode)) continue;
    if (!found->handler.empty() && found->media_type.empty()) found->media_type = kProgramType;
    if (found->name_parts.empty() || !NamesTheRest(asked, found->name_parts)) continue;
    if (found->status != 200 || found->media_type.empty()) continue;
    if (found->media_type == kMapType || found->handler == "type-map") {
      std::string text;
      if (const Verdict read = ReadMap(*found, negotiation, text); !read.is(Verdict::Kind::kDeclined)) return read;
      break;
    }
    Variant& variant = negotiation.variants.emplace_back();
    variant.file_name = name;
    variant.SetType(found->media_type);
    for (const std::string& encoding : found->encodings) {
      variant.encoding.append(variant.encoding.empty() ? "" : ", ").append(encoding);
    }
    variant.languages = found->languages;
    variant.bytes = found->info.st_size;
    variant.has_handler = !found->handler.empty();
    variant.found = std::move(found);
  }
  if (negotiation.variants.empty()) {
    state.engine->LogError(
        state, LogLevel::kError, "negotiation",
        "AH00687: Negotiation: discovered file(s) matching request: " + state.file + " (None could be negotiated).");
    return Verdict::Status(404);
  }
  Variant* best = nullptr;
  const Verdict decided =
      Decide(state, negotiation, !IsGet(state) || state.has_query || !state.path_info.empty(), best);
  if (!decided.is(Verdict::Kind::kDone)) return decided;
  if (!best->found) {
    best->found = LookUpVariant(state, best->file_name);
    if (best->found->status != 200) return Verdict::Status(best->found->status);
  }
  if (!best->found->has_query) {
    best->found->has_query = state.has_query;
    best->found->query = state.query;
  }
  const std::string path_info = state.path_info;
  state.engine->Become(state, std::move(best->found));
  if (state.path_info.empty()) state.path_info = path_info;
  state.list_validator = ListValidator(status, kEtagMtime);
  return Verdict::Done();
}

/// An encoding is named as the client names it: x-gzip or gzip.
Verdict Fixup(RequestState& state) {
  if (state.encodings.size() != 1) return Verdict::Declined();
  const std::string_view field = state.Header("Accept-Encoding");
  if (field.data() == nullptr) return Verdict::Declined();
  const std::string joined = Joined(state.head(), "Accept-Encoding");
  const auto items = negotiation::ParseAccept(joined);
  std::string& encoding = state.encodings[0];
  const std::string plain = encoding.starts_with("x-") ? encoding.substr(2) : encoding;
  const auto named = [&items](const std::string& name) {
    return std::any_of(items->begin(), items->end(), [&name](const auto& item) { return item.name == name; });
  };
  if (named(plain)) {
    encoding = plain;
  } else if (named("x-" + plain)) {
    encoding = "x-" + plain;
  }
  return Verdict::Declined();
}

/// The body that stands in the map itself.
Verdict SendBody(RequestState& state, const Variant& variant, const std::string& text) {
  const http::Method method = state.head().method;
  net::Response& response = *state.response;
  if (method == http::Method::kOptions) return Verdict::Declined();
  if (method != http::Method::kGet && method != http::Method::kHead && method != http::Method::kPost) {
    return Verdict::Status(405);
  }
  state.media_type = variant.media_type;
  if (!variant.charset.empty()) state.media_type += "; charset=" + variant.charset;
  AppendField(response.fields, "Content-Type", state.media_type);
  state.languages = variant.languages;
  state.encodings.clear();
  if (!variant.encoding.empty()) state.encodings.push_back(variant.encoding);
  AppendContentFields(state, response.fields);
  response.body = text.substr(variant.body_offset, static_cast<size_t>(variant.bytes.value_or(0)));
  state.is_success = true;
  return Verdict::Done();
}

/// A type map that was asked for: its choice is sent as if that had been asked for.
Verdict Handle(RequestState& state) {
  if (state.handler != "type-map" && state.handler != kMapType &&
      !(state.handler.empty() && state.media_type == kMapType)) {
    return Verdict::Declined();
  }
  Negotiation negotiation = Begin(state);
  std::string text;
  if (const Verdict read = ReadMap(state, negotiation, text); !read.is(Verdict::Kind::kDeclined)) return read;
  Variant* best = nullptr;
  const Verdict decided = Decide(state, negotiation, false, best);
  if (!decided.is(Verdict::Kind::kDone)) return decided;
  // HTTP/1.0 has no Vary: a cache of its days would give this answer to everybody.
  const auto* settings = HostSettingsFor<NegotiationSettings>(state);
  if (state.head().minor == 0 && !(settings && settings->cache_documents.value_or(false)) &&
      FindField(state.response->fields, "Expires").data() == nullptr) {
    AppendField(state.response->fields, "Expires",
                http::FormatDate(std::chrono::system_clock::to_time_t(state.request->start)));
  }
  if (best->has_body) return SendBody(state, *best, text);
  const size_t question = best->file_name.find('?');
  std::string directory = state.path;
  if (!state.path_info.empty() && directory.ends_with(state.path_info)) {
    directory.resize(directory.size() - state.path_info.size());
  }
  directory.resize(directory.rfind('/') + 1);
  auto path = http::DecodePath(http::EscapePath(directory) + best->file_name.substr(0, question));
  if (!path) return Verdict::Status(500);
  state.list_validator = ListValidator(state.info, kEtagMtime | kEtagSize);
  if (state.original_path.empty()) state.original_path = state.path;
  state.path = std::move(path).value() + state.path_info;
  if (question != std::string::npos) {
    state.query = best->file_name.substr(question + 1);
    state.has_query = true;
  }
  return Verdict::Restart();
}

void Repeats(const RequestState& state, Dependencies& on) {
  if (!state.list_validator.empty()) on.OnMore();
  if (!state.encodings.empty()) on.OnField("Accept-Encoding");
}

}  // namespace

const Module kNegotiation = {.name = {"mod_negotiation.c", "negotiation_module"},
                             .directives = Directives,
                             .always = true,
                             .type = Type,
                             .fixup = Fixup,
                             .handle = Handle,
                             .repeats = Repeats};

}  // namespace httpd::modules
