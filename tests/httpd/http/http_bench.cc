// What the hot path costs per request: one browser's head, one cheap client's head, one log line.
#include <benchmark/benchmark.h>

#include <string>

#include "httpd/http/log_format.h"
#include "httpd/http/request.h"
#include "httpd/http/values.h"

namespace {

using namespace httpd::http;

const std::string kBrowser =
    "GET /static/css/main.css?v=20261121 HTTP/1.1\r\nHost: www.example.org\r\nConnection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
    "Safari/537.36\r\nAccept: text/css,*/*;q=0.1\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\n"
    "Sec-Fetch-Dest: style\r\nReferer: https://www.example.org/index.html\r\nAccept-Encoding: gzip, deflate, br, "
    "zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\r\n";
const std::string kSmall = "GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

void ParseHead(benchmark::State& state, const std::string& text) {
  RequestHead head;
  for (auto _ : state) {
    benchmark::DoNotOptimize(ParseRequestHead(text, {}, head).consumed);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}
BENCHMARK_CAPTURE(ParseHead, browser, kBrowser);
BENCHMARK_CAPTURE(ParseHead, small, kSmall);

void RenderCombined(benchmark::State& state) {
  RequestHead head;
  ParseRequestHead(kBrowser, {}, head);
  LogRecord record;
  record.head = &head;
  record.client_address = "192.0.2.1";
  record.status = 200;
  record.body_bytes = 12345;
  record.start = std::chrono::system_clock::time_point(std::chrono::seconds(1795248166));
  const auto format = LogFormat::Compile(kCombinedFormat);
  std::string out;
  for (auto _ : state) {
    out.clear();
    format.value().Render(record, out);
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(RenderCombined);

void DecodePlainPath(benchmark::State& state) {
  std::string out;
  for (auto _ : state) {
    benchmark::DoNotOptimize(DecodePathInto("/static/css/main.css", out).has_value());
  }
}
BENCHMARK(DecodePlainPath);

}  // namespace
