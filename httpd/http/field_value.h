#pragma once

#include <emmintrin.h>

#include <bit>

namespace httpd::http {

/// May stand in a field value: tab, printable, obs-text. Source  RFC 9110 5.5
constexpr bool FieldByte(unsigned char c) {
  return c == '\t' || (c >= 0x20 && c != 0x7f);
}

/// First byte in [p, end) that may not stand in a field value; CR ends a good one. `end`: all of them may.
inline const char* SkipFieldValue(const char* p, const char* end) {
  const __m128i control = _mm_set1_epi8(0x1f);
  const __m128i tab = _mm_set1_epi8('\t');
  const __m128i del = _mm_set1_epi8(0x7f);
  for (; end - p >= 16; p += 16) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, control), v);
    const __m128i bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), low), _mm_cmpeq_epi8(v, del));
    if (const unsigned mask = static_cast<unsigned>(_mm_movemask_epi8(bad))) return p + std::countr_zero(mask);
  }
  while (p < end && FieldByte(static_cast<unsigned char>(*p))) ++p;
  return p;
}

}  // namespace httpd::http
