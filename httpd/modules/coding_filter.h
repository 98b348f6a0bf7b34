#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "httpd/config/directives.h"
#include "httpd/modules/coded_source.h"
#include "httpd/modules/filters.h"

namespace httpd::modules {

/// Bodies shorter than this are never coded: nothing would be won. Apache's mod_deflate has the same figure.
inline constexpr uint64_t kSmallestCoded = 69;

/// DeflateFilterNote, BrotliFilterNote, ZstdFilterNote: names of notes for the log; "" = none.
struct CodingNotes {
  std::string ratio;
  std::string input;
  std::string output;

  CodingNotes Or(const CodingNotes& outer) const;
};

/// "[type] notename" of those directives.
config::Complaint SetCodingNote(std::string_view directive, const std::vector<std::string>& words, CodingNotes& notes);

/// "AddSuffix|NoChange|Remove"; `complaint` is what Apache says when it is neither.
config::Complaint SetEtagChange(const std::string& word, const char* complaint, std::optional<EtagChange>& out);

/// A whole number in decimal between `least` and `most`; nullopt: it is not.
std::optional<int> ParseBetween(const std::string& word, int least, int most);

/// Whether an answer may be coded, whoever asks: not coded yet, not too short, and `variable` ("no-gzip") is not set.
bool MayBeCoded(const RequestState& state, const FilterView& view, const char* variable);

/// Writes the notes when the body is through. @param overhead  bytes of the output that do not count
AtEnd NoteTaker(RequestState& state, const CodingNotes& notes, uint64_t overhead);

}  // namespace httpd::modules
