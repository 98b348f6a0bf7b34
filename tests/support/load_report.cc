#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "os/file.h"
#include "tests/support/load_client.h"

namespace support {
namespace {

[[gnu::format(printf, 2, 3)]] void Add(std::string& text, const char* format, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  const int size = std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  if (size > 0) text.append(buffer, std::min(static_cast<size_t>(size), sizeof buffer - 1));
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 32 || static_cast<unsigned char>(c) > 126) {
      Add(out, "\\u%04x", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

double Milliseconds(uint64_t us) {
  return static_cast<double>(us) / 1000.0;
}

void AddHistogram(std::string& out, const char* name, const Histogram& h) {
  Add(out, "\"%s\":{\"count\":%" PRIu64 ",\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}", name, h.count(),
      Milliseconds(h.Percentile(0.5)), Milliseconds(h.Percentile(0.99)), Milliseconds(h.Percentile(0.999)),
      Milliseconds(h.max()));
}

std::string_view Name(FailureKind kind) {
  return kFailureKindNames[static_cast<size_t>(kind)];
}

uint64_t NotesBetween(const Report& report, double from, double to) {
  uint64_t count = 0;
  for (const auto& note : report.notes) count += note.at >= from && note.at <= to ? 1 : 0;
  return count;
}

}  // namespace

uint64_t Report::Count(FailureKind kind) const {
  uint64_t sum = 0;
  for (const auto& k : kinds) sum += k.failures[static_cast<size_t>(kind)];
  return sum;
}

uint64_t Report::Failures() const {
  uint64_t sum = 0;
  for (size_t kind = 0; kind < kFailureKinds; ++kind) sum += Count(static_cast<FailureKind>(kind));
  return sum;
}

uint64_t Report::Answered() const {
  uint64_t sum = 0;
  for (const auto& k : kinds) sum += k.answered;
  return sum;
}

uint64_t Report::Requests() const {
  uint64_t sum = 0;
  for (const auto& k : kinds) sum += k.requests;
  return sum;
}

uint64_t Report::WorstBetween(double from, double to) const {
  const double step = std::chrono::duration<double>(kStep).count();
  const double size = static_cast<double>(worst_us.size());
  const auto first = static_cast<size_t>(std::clamp(std::floor((from - started) / step), 0.0, size));
  const auto last = static_cast<size_t>(std::clamp(std::floor((to - started) / step) + 1, 0.0, size));
  uint64_t worst = 0;
  for (size_t i = first; i < last; ++i) worst = std::max<uint64_t>(worst, worst_us[i]);
  return worst;
}

os::Result<std::vector<Mark>> ReadMarks(const std::filesystem::path& path) {
  auto content = os::ReadFile(path);
  if (!content) return content.error();
  std::vector<Mark> marks;
  std::string_view text = content.value();
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string line(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty()) continue;
    char* rest = nullptr;
    const double at = std::strtod(line.c_str(), &rest);
    if (rest == line.c_str() || (*rest != ' ' && *rest != '\0') || !std::isfinite(at)) {
      return os::Error{os::ErrorKind::kInvalid, 0,
                       path.string() + ":" + std::to_string(number) + ": not \"<unix time> label\": " + line};
    }
    marks.push_back({at, *rest == ' ' ? rest + 1 : ""});
  }
  return marks;
}

std::string ToText(const Report& report, const std::vector<Mark>& marks, double window) {
  std::string out;
  Add(out, "%-9s %7s %9s %9s %6s %6s %8s | connect p99.9 / max ms | first byte p50 / p99 / p99.9 / max ms\n", "client",
      "conns", "requests", "answered", "failed", "retry", "MB");
  for (size_t i = 0; i < kClientKinds; ++i) {
    const auto& k = report.kinds[i];
    if (k.requests == 0) continue;
    uint64_t failed = 0;
    for (const auto n : k.failures) failed += n;
    Add(out,
        "%-9s %7" PRIu64 " %9" PRIu64 " %9" PRIu64 " %6" PRIu64 " %6" PRIu64
        " %8.1f | %11.2f / %8.2f | %10.2f / %5.2f / %7.2f / %8.2f\n",
        kClientKindNames[i].data(), k.connections, k.requests, k.answered, failed, k.retried,
        static_cast<double>(k.bytes) / 1e6, Milliseconds(k.connect.Percentile(0.999)), Milliseconds(k.connect.max()),
        Milliseconds(k.first_byte.Percentile(0.5)), Milliseconds(k.first_byte.Percentile(0.99)),
        Milliseconds(k.first_byte.Percentile(0.999)), Milliseconds(k.first_byte.max()));
    if (failed == 0) continue;
    out += "         ";
    for (size_t f = 0; f < kFailureKinds; ++f) {
      if (k.failures[f] > 0) Add(out, " %s %" PRIu64, kFailureKindNames[f].data(), k.failures[f]);
    }
    out += '\n';
  }
  Add(out, "total     %" PRIu64 " requests, %" PRIu64 " answered, %" PRIu64 " failures in %.1f s\n", report.Requests(),
      report.Answered(), report.Failures(), report.seconds);
  constexpr size_t kShown = 10;
  for (size_t i = 0; i < std::min(kShown, report.notes.size()); ++i) {
    const auto& n = report.notes[i];
    Add(out, "  %+.3f s %s %s %s: %s\n", n.at - report.started, kClientKindNames[static_cast<size_t>(n.client)].data(),
        n.rid.c_str(), Name(n.failure).data(), n.detail.c_str());
  }
  if (report.notes.size() > kShown) Add(out, "  ... and %zu more\n", report.notes.size() - kShown);
  for (const auto& mark : marks) {
    Add(out, "mark %+.3f s %s: longest latency within %g s %.2f ms, failures %" PRIu64 "\n", mark.at - report.started,
        mark.label.c_str(), window, Milliseconds(report.WorstBetween(mark.at - window, mark.at + window)),
        NotesBetween(report, mark.at - window, mark.at + window));
  }
  return out;
}

std::string ToJson(const Report& report, const std::vector<Mark>& marks, double window) {
  std::string out = "{";
  Histogram connect, first_byte;
  for (const auto& k : report.kinds) {
    connect.Merge(k.connect);
    first_byte.Merge(k.first_byte);
  }
  Add(out,
      "\"started\":%.3f,\"seconds\":%.3f,\"requests\":%" PRIu64 ",\"answered\":%" PRIu64 ",\"failed\":%" PRIu64 ",",
      report.started, report.seconds, report.Requests(), report.Answered(), report.Failures());
  out += "\"failures\":{";
  for (size_t f = 0; f < kFailureKinds; ++f) {
    Add(out, "%s\"%s\":%" PRIu64, f > 0 ? "," : "", kFailureKindNames[f].data(),
        report.Count(static_cast<FailureKind>(f)));
  }
  out += "},";
  AddHistogram(out, "connect_ms", connect);
  out += ',';
  AddHistogram(out, "first_byte_ms", first_byte);
  out += ",\"kinds\":{";
  for (size_t i = 0; i < kClientKinds; ++i) {
    const auto& k = report.kinds[i];
    Add(out,
        "%s\"%s\":{\"connections\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"answered\":%" PRIu64 ",\"retried\":%" PRIu64
        ",\"abandoned\":%" PRIu64 ",\"announced_closes\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"failures\":{",
        i > 0 ? "," : "", kClientKindNames[i].data(), k.connections, k.requests, k.answered, k.retried, k.abandoned,
        k.announced_closes, k.bytes);
    for (size_t f = 0; f < kFailureKinds; ++f) {
      Add(out, "%s\"%s\":%" PRIu64, f > 0 ? "," : "", kFailureKindNames[f].data(), k.failures[f]);
    }
    out += "},";
    AddHistogram(out, "connect_ms", k.connect);
    out += ',';
    AddHistogram(out, "first_byte_ms", k.first_byte);
    out += '}';
  }
  out += "},\"notes\":[";
  for (size_t i = 0; i < report.notes.size(); ++i) {
    const auto& n = report.notes[i];
    Add(out, "%s{\"at\":%.3f,\"client\":\"%s\",\"failure\":\"%s\",", i > 0 ? "," : "", n.at,
        kClientKindNames[static_cast<size_t>(n.client)].data(), Name(n.failure).data());
    out += "\"rid\":" + Quoted(n.rid) + ",\"detail\":" + Quoted(n.detail) + "}";
  }
  Add(out, "],\"window_s\":%g,\"marks\":[", window);
  for (size_t i = 0; i < marks.size(); ++i) {
    const auto& mark = marks[i];
    Add(out, "%s{\"at\":%.3f,\"worst_ms\":%.3f,\"failures\":%" PRIu64 ",\"label\":", i > 0 ? "," : "", mark.at,
        Milliseconds(report.WorstBetween(mark.at - window, mark.at + window)),
        NotesBetween(report, mark.at - window, mark.at + window));
    out += Quoted(mark.label) + "}";
  }
  return out + "]}\n";
}

}  // namespace support
