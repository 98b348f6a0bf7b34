#include "httpd/modules/coding_filter.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "httpd/config/lexer.h"
#include "httpd/modules/module.h"

namespace httpd::modules {

CodingNotes CodingNotes::Or(const CodingNotes& outer) const {
  return {ratio.empty() ? outer.ratio : ratio, input.empty() ? outer.input : input,
          output.empty() ? outer.output : output};
}

config::Complaint SetCodingNote(std::string_view directive, const std::vector<std::string>& words, CodingNotes& notes) {
  if (words.size() == 1 || config::SameIgnoringCase(words[0], "ratio")) {
    notes.ratio = words.back();
  } else if (config::SameIgnoringCase(words[0], "input")) {
    notes.input = words[1];
  } else if (config::SameIgnoringCase(words[0], "output")) {
    notes.output = words[1];
  } else {
    return "Unknown " + std::string(directive) + " type '" + words[0] + "'";
  }
  return std::nullopt;
}

config::Complaint SetEtagChange(const std::string& word, const char* complaint, std::optional<EtagChange>& out) {
  if (config::SameIgnoringCase(word, "AddSuffix")) {
    out = EtagChange::kAddSuffix;
  } else if (config::SameIgnoringCase(word, "NoChange")) {
    out = EtagChange::kNoChange;
  } else if (config::SameIgnoringCase(word, "Remove")) {
    out = EtagChange::kRemove;
  } else {
    return complaint;
  }
  return std::nullopt;
}

std::optional<int> ParseBetween(const std::string& word, int least, int most) {
  int value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || value < least || value > most) return std::nullopt;
  return value;
}

bool MayBeCoded(const RequestState& state, const FilterView& view, const char* variable) {
  if (view.size && *view.size < kSmallestCoded) return false;
  return !view.is_coded() && !state.environment.Find(variable);
}

AtEnd NoteTaker(RequestState& state, const CodingNotes& notes, uint64_t overhead) {
  if (notes.ratio.empty() && notes.input.empty() && notes.output.empty()) return nullptr;
  return [&state, notes, overhead](uint64_t in, uint64_t out) {
    out -= std::min(out, overhead);
    if (!notes.input.empty()) state.notes[notes.input] = std::to_string(in);
    if (!notes.output.empty()) state.notes[notes.output] = std::to_string(out);
    if (!notes.ratio.empty()) state.notes[notes.ratio] = in == 0 ? "-" : std::to_string(out * 100 / in);
  };
}

}  // namespace httpd::modules
