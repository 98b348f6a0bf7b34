#include "httpd/config/shared_state.h"

#include <algorithm>

#include "httpd/config/lexer.h"

namespace httpd::config {

namespace {

using Words = std::vector<std::string>;

struct Row {
  const char* directive;
  const char* id;  ///< what --accept-shared takes; stable
  bool dangerous;
  bool (*shares)(const Words& words);
  const char* text;  ///< after "Directive words: "
  const char* advice;
};

bool HasOmitPid(const Words& words) {
  return std::any_of(words.begin(), words.end(), [](const auto& word) { return SameIgnoringCase(word, "OmitPID"); });
}

constexpr Row kRows[] = {
    {"Mutex", "mutex-omitpid", false, HasOmitPid,
     "two instances of Apache would share one mutex file; this server makes none", "remove OmitPID"},
};

}  // namespace

void NoteSharedState(const Directive& directive, const Words& words, const SourceLine& where, ServerConfig& config) {
  for (const Row& row : kRows) {
    if (!SameIgnoringCase(row.directive, directive.name) || !row.shares(words)) continue;
    std::string text = row.directive;
    for (const std::string& word : words) text += " " + word;
    config.shared_state.push_back({row.id, row.dangerous, text + ": " + row.text, row.advice, where});
  }
}

}  // namespace httpd::config
