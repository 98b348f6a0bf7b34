#pragma once

#include <string_view>

namespace httpd::http {

/// Weight that a client gives a content coding, in thousandths; 0 = it must not be used.
///
/// @param accept  value of Accept-Encoding, several fields joined by ", "; data() == nullptr: missing
/// @param coding  "gzip", "br", "zstd"... or "identity". "x-gzip" and "x-compress" in the field are "gzip", "compress"
///
/// A coding that the field does not name has the weight of "*", or 0. Identity is acceptable unless it is refused:
/// where neither it nor "*" is named it weighs 1, so that every coding that is wanted at all comes before it. A member
/// that is malformed counts as not said; of two for one coding the first counts. Without the field, or with an empty
/// one, only identity has a weight: who can decode says so.
/// Source  RFC 9110 12.5.3, 12.4.2, 8.4.1
int CodingWeight(std::string_view accept, std::string_view coding);

/// Whether a comma-separated list of tokens (Vary, Content-Encoding, Connection) holds `token`; case does not count.
bool ListHolds(std::string_view list, std::string_view token);

}  // namespace httpd::http
