#include "tests/httpd/modules/coding_check.h"

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

namespace httpd::modules {

namespace {
constexpr char kBroken[] = "<broken>";
}

std::string Gunzip(std::string_view coded) {
  z_stream z{};
  if (::inflateInit2(&z, 15 + 16) != Z_OK) return kBroken;
  std::string out;
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(coded.data()));
  z.avail_in = static_cast<uInt>(coded.size());
  int result = Z_OK;
  while (result == Z_OK) {
    char piece[16384];
    z.next_out = reinterpret_cast<Bytef*>(piece);
    z.avail_out = sizeof piece;
    result = ::inflate(&z, Z_NO_FLUSH);
    out.append(piece, sizeof piece - z.avail_out);
  }
  const bool complete = result == Z_STREAM_END && z.avail_in == 0;
  ::inflateEnd(&z);
  return complete ? out : kBroken;
}

std::string UnBrotli(std::string_view coded) {
  BrotliDecoderState* state = ::BrotliDecoderCreateInstance(nullptr, nullptr, nullptr);
  std::string out;
  size_t in_left = coded.size();
  const auto* in = reinterpret_cast<const uint8_t*>(coded.data());
  BrotliDecoderResult result = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
  while (result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) {
    uint8_t piece[16384];
    size_t room = sizeof piece;
    uint8_t* to = piece;
    result = ::BrotliDecoderDecompressStream(state, &in_left, &in, &room, &to, nullptr);
    out.append(reinterpret_cast<char*>(piece), sizeof piece - room);
  }
  ::BrotliDecoderDestroyInstance(state);
  return result == BROTLI_DECODER_RESULT_SUCCESS && in_left == 0 ? out : kBroken;
}

std::string UnZstd(std::string_view coded) {
  ZSTD_DStream* stream = ::ZSTD_createDStream();
  ZSTD_inBuffer in{coded.data(), coded.size(), 0};
  std::string out;
  size_t left = 1;
  bool moved = true;
  while (moved && !::ZSTD_isError(left)) {
    char piece[16384];
    ZSTD_outBuffer to{piece, sizeof piece, 0};
    const size_t before = in.pos;
    left = ::ZSTD_decompressStream(stream, &to, &in);
    out.append(piece, to.pos);
    moved = to.pos > 0 || in.pos > before;
    if (left == 0) break;
  }
  ::ZSTD_freeDStream(stream);
  return left == 0 && in.pos == in.size ? out : kBroken;
}

std::string Gzip(std::string_view text) {
  z_stream z{};
  if (::deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return kBroken;
  std::string out(::deflateBound(&z, text.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  ::deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  ::deflateEnd(&z);
  return out;
}

std::string SampleText(size_t size) {
  std::string out;
  uint32_t seed = 7;
  while (out.size() < size) {
    seed = seed * 1664525 + 1013904223;
    for (uint32_t i = 0, word = seed >> 20; i < 2 + (seed >> 28); ++i, word = word * 31 + 7) {
      out += static_cast<char>('a' + word % 17);
    }
    out += (seed >> 16) % 9 == 0 ? '\n' : ' ';
  }
  out.resize(size);
  return out;
}

}  // namespace httpd::modules
