// mod_speling: names that were almost right. Source  httpd 2.4 manual, mod_speling
#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::LogLevel;
using config::Node;
using config::Scope;

// A directory is read while the loop waits: so many names and no more.
constexpr size_t kMostNames = 10000;
constexpr size_t kMostCandidates = 100;
constexpr char kChoices[] = "speling-choices";

struct SpelingSettings final : config::ModuleSettings {
  std::optional<bool> enabled;
  std::optional<bool> case_only;
  std::optional<bool> basename;
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<SpelingSettings>(static_cast<const SpelingSettings&>(other));
    if (!out->enabled) out->enabled = enabled;
    if (!out->case_only) out->case_only = case_only;
    if (!out->basename) out->basename = basename;
    return out;
  }
};

template <std::optional<bool> SpelingSettings::*kMember>
Complaint SetFlag(config::Builder&, Scope& scope, const Node& node, const std::vector<std::string>& words) {
  const bool on = config::SameIgnoringCase(words[0], "on");
  if (!on && !config::SameIgnoringCase(words[0], "off")) return node.name + " must be On or Off";
  config::SettingsOf<SpelingSettings>(scope).*kMember = on;
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  constexpr unsigned kPlaces = config::kAnywhere | config::kOverrideOptions;
  static constexpr char kModule[] = "mod_speling.c";
  static const std::vector<config::Directive> table = {
      {"CheckSpelling", kModule, kPlaces, Arity::kFlag, "whether or not to fix miscapitalized/misspelled requests",
       OnRead::kNo, SetFlag<&SpelingSettings::enabled>, "on|off", "Off",
       "A name that does not exist is compared with those of its directory (at most 10,000 of them)."},
      {"CheckCaseOnly", kModule, kPlaces, Arity::kFlag, "whether or not to fix only miscapitalized requests",
       OnRead::kNo, SetFlag<&SpelingSettings::case_only>, "on|off", "Off"},
      {"CheckBasenameMatch", kModule, kPlaces, Arity::kFlag, "whether or not to fix files with the same base name",
       OnRead::kNo, SetFlag<&SpelingSettings::basename>, "on|off", "On",
       "Names that differ in their extension only are offered, too."},
  };
  return table;
}

enum class Likeness { kCase, kTransposed, kMissing, kExtra, kWrong, kBasename };

const char* TextOf(Likeness likeness) {
  static const char* const kTexts[] = {"miscapitalized",  "transposed characters", "character missing",
                                       "extra character", "mistyped character",    "common basename"};
  return kTexts[static_cast<size_t>(likeness)];
}

/// How the first one has become the other by one slip; nullopt: it has not. Case does not count.
std::optional<Likeness> Slip(std::string_view asked, std::string_view name) {
  const auto same = [](std::string_view a, std::string_view b) { return http::EqualsIgnoreCase(a, b); };
  size_t at = 0;
  while (at < asked.size() && at < name.size() && http::Lower(asked[at]) == http::Lower(name[at])) ++at;
  const std::string_view a = asked.substr(at);
  const std::string_view b = name.substr(at);
  if (a.size() > 1 && b.size() > 1 && same(a.substr(0, 1), b.substr(1, 1)) && same(a.substr(1, 1), b.substr(0, 1)) &&
      same(a.substr(2), b.substr(2))) {
    return Likeness::kTransposed;
  }
  if (!a.empty() && !b.empty() && same(a.substr(1), b.substr(1))) return Likeness::kWrong;
  if (!a.empty() && same(a.substr(1), b)) return Likeness::kExtra;
  if (!b.empty() && same(a, b.substr(1))) return Likeness::kMissing;
  return std::nullopt;
}

struct Candidate {
  std::string name;
  Likeness likeness;
};

/// nullopt: there is nothing to be found here
std::optional<std::vector<Candidate>> CandidatesFor(const std::string& directory, const std::string& asked,
                                                    const SpelingSettings& settings) {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.empty() ? "/" : directory.c_str()), ::closedir);
  if (!open) return std::nullopt;
  std::vector<Candidate> out;
  size_t names = 0;
  while (const dirent* entry = ::readdir(open.get())) {
    if (++names > kMostNames || out.size() >= kMostCandidates) break;
    const std::string name = entry->d_name;
    if (name == asked) return std::nullopt;  // it exists after all, a dangling link perhaps: no circle
    if (name == "." || name == "..") continue;
    if (http::EqualsIgnoreCase(name, asked)) {
      out.push_back({name, Likeness::kCase});
      continue;
    }
    const auto slip = settings.case_only.value_or(false) ? std::nullopt : Slip(asked, name);
    if (slip) {
      out.push_back({name, *slip});
    } else if (settings.basename.value_or(true)) {
      const size_t dot = std::min(asked.find('.'), asked.size());
      if (dot == std::min(name.find('.'), name.size()) &&
          http::EqualsIgnoreCase(std::string_view(name).substr(0, dot), std::string_view(asked).substr(0, dot))) {
        out.push_back({name, Likeness::kBasename});
      }
    }
  }
  std::sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) {
    return a.likeness != b.likeness ? a.likeness < b.likeness : a.name < b.name;
  });
  return out;
}

Verdict Fixup(RequestState& state) {
  const auto* settings = SettingsFor<SpelingSettings>(state);
  if (!settings || !settings->enabled.value_or(false) || !state.proxy_url.empty()) return Verdict::Declined();
  const http::Method method = state.head().method;
  if ((method != http::Method::kGet && method != http::Method::kHead) || state.exists() || state.is_subrequest() ||
      state.path == "/" || state.error_status != 0) {
    return Verdict::Declined();
  }
  const size_t slash = state.file.rfind('/');
  if (slash == std::string::npos) return Verdict::Declined();
  const std::string asked = state.file.substr(slash + 1);
  const std::string behind = asked + state.path_info;
  if (asked.empty() || !state.path.ends_with(behind)) return Verdict::Declined();
  const auto candidates = CandidatesFor(state.file.substr(0, slash), asked, *settings);
  if (!candidates || candidates->empty()) return Verdict::Declined();
  const std::string before = state.path.substr(0, state.path.size() - behind.size());
  const Candidate& first = candidates->front();
  if (first.likeness != Likeness::kBasename &&
      (candidates->size() == 1 || first.likeness != (*candidates)[1].likeness)) {
    std::string location = http::EscapePath(before + first.name + state.path_info);
    if (state.has_query) location += "?" + state.query;
    state.engine->LogError(state, LogLevel::kInfo, "speling",
                           "AH03225: Fixed spelling: " + state.path + " to " + location);
    return RedirectTo(state, 301, location);
  }
  std::string list =
      "The document name you requested (<code>" + http::EscapeHtml(state.path) +
      "</code>) could not be found on this server.\nHowever, we found documents with names similar to the one you "
      "requested.<p>Available documents:\n<ul>\n";
  for (const Candidate& candidate : *candidates) {
    const std::string path = before + candidate.name + state.path_info;
    list += "<li><a href=\"" + http::EscapeHtml(http::EscapePath(path) + (state.has_query ? "?" + state.query : "")) +
            "\">" + http::EscapeHtml(path) + "</a> (" + TextOf(candidate.likeness) + ")\n";
  }
  list += "</ul>\n";
  state.notes["variant-list"] = std::move(list);
  state.handler = kChoices;
  state.engine->LogError(
      state, LogLevel::kInfo, "speling",
      "AH03227: Spelling fix: " + state.path + ": " + std::to_string(candidates->size()) + " candidates");
  return Verdict::Done();
}

Verdict Handle(RequestState& state) {
  if (state.handler != kChoices) return Verdict::Declined();
  net::Response& response = *state.response;
  response.status = 300;
  response.fields += "Content-Type: text/html; charset=iso-8859-1\r\n";
  response.body =
      "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n<title>300 Multiple "
      "Choices</title>\n</head><body>\n<h1>Multiple Choices</h1>\n" +
      state.notes["variant-list"] + "\n" + state.engine->Signature(state) + "</body></html>\n";
  return Verdict::Done();
}

}  // namespace

const Module kSpeling = {.name = {"mod_speling.c", "speling_module"},
                         .directives = Directives,
                         .applies = HasSettings<SpelingSettings>,
                         .fixup = Fixup,
                         .handle = Handle,
                         .repeats = DependsOnNothing};

}  // namespace httpd::modules
