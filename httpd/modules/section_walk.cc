#include "httpd/modules/section_walk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "httpd/http/values.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/expression.h"
#include "httpd/modules/module.h"
#include "httpd/modules/stat_file.h"
#include "os/file.h"

namespace httpd::modules {

namespace {

constexpr size_t kMostMerged = 4096;  // combinations of sections that are remembered, and a few for each host
constexpr size_t kMostMergedOfHost = 4;
constexpr size_t kMostHtaccess = 4096;  // files
constexpr size_t kMostHtaccessBytes = 256U << 10;

const config::PerDirectory kNothing;  ///< for what only tells one list of sections from another

/// Whether a <Directory> pattern without regular expression is about the directory `path` itself (not what is below).
bool NamesDirectory(const CompiledHost::Section& section, std::string_view path) {
  const std::string& pattern = section.section->pattern;
  return section.section->is_wildcard ? http::WildcardMatch(pattern, path, true) : pattern == path;
}

/// "AH00526: Syntax error on line N of FILE:\nWHAT" as Apache writes it to the error log: "FILE: WHAT (line N)".
std::string InOneLine(const std::string& path, const std::string& error) {
  constexpr std::string_view kStart = "AH00526: Syntax error on line ";
  const size_t end = error.find('\n');
  if (!error.starts_with(kStart) || end == std::string::npos) return path + ": " + error;
  const std::string line = error.substr(kStart.size(), error.find(' ', kStart.size()) - kStart.size());
  return path + ": " + error.substr(end + 1) + " (line " + line + ")";
}

/// Those of `sections` that hold, each before the ones in it. `key` gets a byte for each that was looked at.
void FindHolding(RequestState& state, const std::vector<config::ConditionalSettings>& sections,
                 std::vector<const config::PerDirectory*>& out, std::string& key) {
  bool done = false;  // one of the chain <If> <ElseIf> <Else> has held
  for (const config::ConditionalSettings& section : sections) {
    if (!section.is_else) done = false;
    const bool holds = !done && (!section.condition || AsExpression(section.condition)->Holds(state));
    key += holds ? 'I' : 'i';
    if (!holds) continue;
    done = true;
    out.push_back(section.settings.get());
    FindHolding(state, section.settings->conditional, out, key);
  }
}

bool CanBeWithoutFile(int sys) {
  return sys == ENOENT || sys == ENOTDIR;
}

}  // namespace

bool Covers(std::string_view prefix, std::string_view path) {
  if (!path.starts_with(prefix)) return false;
  return prefix.empty() || prefix.back() == '/' || path.size() == prefix.size() || path[prefix.size()] == '/';
}

bool Matches(RequestState& state, const CompiledHost::Section& section, const std::string& text, bool whole_name) {
  if (section.regex) return Finds(state, *section.regex, text);
  if (section.section->is_wildcard) {
    if (whole_name) return http::WildcardMatch(section.section->pattern, text, false);
    // A wildcard names a directory: every leading part of the path is a candidate.
    for (size_t end = text.find('/', 1);; end = text.find('/', end + 1)) {
      if (http::WildcardMatch(section.section->pattern, std::string_view(text).substr(0, end), true)) return true;
      if (end == std::string::npos) return false;
    }
  }
  return whole_name ? section.section->pattern == text : Covers(section.section->pattern, text);
}

/// One .htaccess file as it was when it was read.
struct SectionWalk::Htaccess {
  uint32_t id = 0;
  struct stat status {};
  config::Overrides overrides;
  config::HtaccessFile file;
  std::vector<CompiledHost::Section> files;  ///< compiled <Files> of it
  std::string error;                         ///< "" = it was understood
};

SectionWalk::SectionWalk(const Site& site) : site_(site) {}
SectionWalk::~SectionWalk() = default;

void SectionWalk::Add(Kind kind, size_t index, const config::PerDirectory& settings) {
  const auto number = static_cast<uint32_t>(index);
  char word[1 + sizeof number] = {kind};
  std::memcpy(word + 1, &number, sizeof number);
  key_.append(word, sizeof word);
  parts_.push_back(&settings);
}

void SectionWalk::Begin(const RequestState& state) {
  key_.clear();
  parts_.clear();
  in_force_.clear();
  Add(kHost, static_cast<size_t>(state.host_index), state.host->host->settings);
}

void SectionWalk::AddLocations(RequestState& state) {
  const CompiledHost::SectionList& locations = state.host->sections->locations;
  if (locations.all.empty()) return;
  PrefixIndex::Candidates candidates;
  locations.by_prefix.Find(state.path, candidates);
  for (size_t i = candidates.Next(0); i != PrefixIndex::kNone; i = candidates.Next(i + 1)) {
    const CompiledHost::Section& section = locations.all[i];
    if (Matches(state, section, state.path, false)) Add(kLocation, i, section.section->settings);
  }
}

// Source  mod_proxy.c proxy_walk: a prefix as text, not only at a slash, and * covers slashes.
void SectionWalk::AddProxies(RequestState& state) {
  const CompiledHost::SectionList& proxies = state.host->sections->proxies;
  if (proxies.all.empty()) return;
  PrefixIndex::Candidates candidates;
  proxies.by_prefix.Find(state.proxy_url, candidates);
  for (size_t i = candidates.Next(0); i != PrefixIndex::kNone; i = candidates.Next(i + 1)) {
    const CompiledHost::Section& section = proxies.all[i];
    const std::string& pattern = section.section->pattern;
    const bool matches = section.regex                  ? Finds(state, *section.regex, state.proxy_url)
                         : section.section->is_wildcard ? http::WildcardMatch(pattern, state.proxy_url, false)
                                                        : state.proxy_url.starts_with(pattern);
    if (matches) Add(kProxy, i, section.section->settings);
  }
}

std::shared_ptr<const Effective> SectionWalk::Merged() {
  if (const auto cached = merged_.find(key_); cached != merged_.end()) return cached->second;
  auto made = std::make_shared<Effective>();
  for (const config::PerDirectory* part : parts_) made->Merge(*part);
  return Remember(key_, std::move(made));
}

std::shared_ptr<const Effective> SectionWalk::Remember(const std::string& key, std::shared_ptr<Effective> made) {
  made->hooks = ModulesWith(made->modules);
  const size_t most = kMostMerged + kMostMergedOfHost * site_.hosts().size();
  if (merged_.size() >= most) merged_.clear();  // .htaccess files that change without end must not fill memory
  merged_.emplace(key, made);
  return made;
}

std::shared_ptr<const Effective> SectionWalk::WithConditions(RequestState& state,
                                                             std::shared_ptr<const Effective> base) {
  if (base->conditional.empty()) return base;
  std::string key = key_;  // a condition may look another file up, which walks in here again
  std::vector<const config::PerDirectory*> parts;
  FindHolding(state, base->conditional, parts, key);
  if (parts.empty()) return base;
  if (const auto cached = merged_.find(key); cached != merged_.end()) return cached->second;
  auto made = std::make_shared<Effective>(*base);
  for (const config::PerDirectory* part : parts) made->Merge(*part);
  return Remember(key, std::move(made));
}

std::shared_ptr<const Effective> SectionWalk::ForUrl(RequestState& state) {
  Begin(state);
  AddLocations(state);
  return WithConditions(state, Merged());
}

std::shared_ptr<const Effective> SectionWalk::ForProxy(RequestState& state) {
  Begin(state);
  AddProxies(state);
  AddLocations(state);
  return WithConditions(state, Merged());
}

void SectionWalk::TakeOverrides(const config::PerDirectory& settings, config::Overrides& overrides) {
  if (settings.override_classes) {
    overrides.classes = *settings.override_classes;
    overrides.options = settings.override_options;
    overrides.ignore_forbidden = settings.ignore_forbidden;
    overrides.ignore_unknown = settings.ignore_unknown;
  }
  if (settings.override_names) overrides.names = *settings.override_names;
}

std::shared_ptr<const SectionWalk::Htaccess> SectionWalk::Read(const std::string& path, const struct stat& status,
                                                               const config::Overrides& overrides, Found& found) {
  auto out = std::make_shared<Htaccess>();
  out->status = status;
  out->overrides = overrides;
  out->id = ++next_id_;
  ++files_read_;
  std::string text;
  auto opened = os::Open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (opened) {
    text.resize(kMostHtaccessBytes + 1);
    const ssize_t n = ::pread(opened.value().get(), text.data(), text.size(), 0);
    text.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  } else {
    found.status = 403;
    found.trouble = "(" + std::to_string(opened.error().sys) + ")" + std::strerror(opened.error().sys) +
                    ": AH00529: " + path +
                    " pcfg_openfile: unable to check htaccess file, ensure it is readable and that '" +
                    path.substr(0, path.rfind('/') + 1) + "' is executable";
    return nullptr;
  }
  auto read = config::ReadHtaccess(text, path, path.substr(0, path.rfind('/')), overrides, site_.config());
  if (!read) {
    out->error = InOneLine(path, read.error().what);
    return out;
  }
  out->file = std::move(read).value();
  for (const config::Section& nested : out->file.section.nested) {
    auto compiled = CompileSection(nested, -1);
    if (!compiled) {
      out->error = InOneLine(path, compiled.error().what);
      return out;
    }
    out->files.push_back(std::move(compiled).value());
  }
  for (const std::string& line : out->file.skipped) found.notice += (found.notice.empty() ? "" : "; ") + line;
  return out;
}

bool SectionWalk::AddHtaccess(Engine& engine, const std::string& directory, const config::Overrides& overrides,
                              Found& found) {
  for (const std::string& name : site_.config().access_file_names) {
    std::string path = directory == "/" ? "/" : directory + "/";
    path += name;
    struct stat status {};
    const bool is_there = ::stat(path.c_str(), &status) == 0;
    const int sys = errno;
    if (Dependencies* on = engine.dependencies()) on->OnFile(path, is_there ? &status : nullptr);
    if (!is_there) {
      if (CanBeWithoutFile(sys)) continue;
      found.status = 403;
      found.trouble = "(" + std::to_string(sys) + ")" + std::strerror(sys) + ": AH00529: " + path +
                      " pcfg_openfile: unable to check htaccess file, ensure it is readable and that '" + directory +
                      "/' is executable";
      return false;
    }
    if (!S_ISREG(status.st_mode)) continue;
    auto& known = htaccess_[path];
    const bool is_current = known && IsSameFile(known->status, status) && known->overrides == overrides;
    std::shared_ptr<const Htaccess> file = known;
    if (!is_current) {
      file = Read(path, status, overrides, found);
      if (!file) {
        htaccess_.erase(path);
        return false;
      }
      known = file;
      if (htaccess_.size() > kMostHtaccess) htaccess_.clear();
    }
    if (!file->error.empty()) {
      found.status = 500;
      found.trouble = file->error;
      return false;
    }
    Add(kHtaccess, file->id, file->file.section.settings);
    in_force_.push_back(std::move(file));
    return true;  // the first name that exists is the one
  }
  return true;
}

void SectionWalk::AddDirectories(RequestState& state, Found& found) {
  const CompiledHost::Sections& sections = *state.host->sections;
  const std::vector<CompiledHost::Section>& directories = sections.directories.all;
  const std::string& file = state.file;
  config::Overrides overrides;
  TakeOverrides(state.host->host->settings, overrides);
  in_directory_.assign(directories.size(), false);
  // Every level begins as the file does: who can be about none of them is left out of all.
  PrefixIndex::Candidates candidates;
  sections.directories.by_prefix.Find(file, candidates);
  candidates_.clear();
  size_t next = candidates.Next(0);
  for (; next < sections.first_regex; next = candidates.Next(next + 1)) candidates_.push_back(next);
  auto visit = [&](const std::string& level) {
    for (const size_t i : candidates_) {
      if (in_directory_[i] || !NamesDirectory(directories[i], level)) continue;
      in_directory_[i] = true;
      Add(kDirectory, i, directories[i].section->settings);
      TakeOverrides(directories[i].section->settings, overrides);
    }
    return !overrides.any() || AddHtaccess(*state.engine, level, overrides, found);
  };
  // "/", "/srv", "/srv/www"; a directory is its own last level, with or without a slash at its end.
  for (size_t slash = file.find('/'); slash != std::string::npos; slash = file.find('/', slash + 1)) {
    level_.assign(file, 0, std::max<size_t>(slash, 1));
    if (!visit(level_)) return;
  }
  if (S_ISDIR(state.info.st_mode) && file.back() != '/' && !visit(file)) return;
  for (size_t i = next; i != PrefixIndex::kNone; i = candidates.Next(i + 1)) {
    if (!Matches(state, directories[i], file, false)) continue;
    in_directory_[i] = true;
    Add(kDirectory, i, directories[i].section->settings);
  }
}

void SectionWalk::AddFiles(RequestState& state) {
  const CompiledHost::SectionList& files = state.host->sections->files;
  if (files.all.empty() && in_force_.empty()) return;
  const std::string name = state.file.substr(state.file.rfind('/') + 1);
  if (name.empty()) return;
  PrefixIndex::Candidates candidates;
  files.by_prefix.Find(name, candidates);
  for (size_t i = candidates.Next(0); i != PrefixIndex::kNone; i = candidates.Next(i + 1)) {
    const int enclosing = files.all[i].enclosing;
    if (enclosing >= 0 && !in_directory_[static_cast<size_t>(enclosing)]) continue;
    if (Matches(state, files.all[i], name, true)) Add(kFiles, i, files.all[i].section->settings);
  }
  for (const auto& htaccess : in_force_) {
    for (size_t i = 0; i < htaccess->files.size(); ++i) {
      if (!Matches(state, htaccess->files[i], name, true)) continue;
      Add(kHtaccess, htaccess->id, htaccess->files[i].section->settings);
      Add(kFiles, i, kNothing);
    }
  }
}

SectionWalk::Found SectionWalk::ForFile(RequestState& state) {
  Found found;
  Begin(state);
  AddDirectories(state, found);
  AddFiles(state);
  AddLocations(state);
  found.settings = WithConditions(state, Merged());
  return found;
}

}  // namespace httpd::modules
