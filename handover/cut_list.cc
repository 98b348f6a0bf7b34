#include "handover/cut_list.h"

#include <array>
#include <charconv>
#include <cstdio>

namespace handover {

namespace {

constexpr size_t kMaxRequestBytes = 2000;  // of the original; every byte may become four

std::string Printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMaxRequestBytes)) {
    if (c >= ' ' && c < 127) {
      out += c;
      continue;
    }
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
    out += escaped;
  }
  return out;
}

std::string Number(const std::optional<uint64_t>& number) {
  return number ? std::to_string(*number) : "-";
}

bool ParseNumber(std::string_view text, uint64_t& out) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
  return failed == std::errc() && end == text.data() + text.size();
}

bool ParseNumber(std::string_view text, std::optional<uint64_t>& out) {
  uint64_t number = 0;
  if (text == "-") return true;
  if (!ParseNumber(text, number)) return false;
  out = number;
  return true;
}

}  // namespace

std::string_view PhaseName(CutRequest::Phase phase) {
  switch (phase) {
    case CutRequest::Phase::kReceiving:
      return "receiving";
    case CutRequest::Phase::kAnswering:
      return "answering";
    case CutRequest::Phase::kUnknown:
      break;
  }
  return "unknown";
}

std::string FormatCut(const CutRequest& request) {
  std::string out = Printable(request.client);
  out += '\t';
  out += PhaseName(request.phase);
  out += '\t' + Number(request.bytes_sent) + '\t' + Number(request.bytes_left) + '\t' + std::to_string(request.age_ms);
  out += '\t' + Printable(request.request) + '\n';
  return out;
}

std::optional<CutRequest> ParseCut(std::string_view line) {
  std::array<std::string_view, 5> words;
  for (std::string_view& word : words) {
    const size_t tab = line.find('\t');
    if (tab == std::string_view::npos) return std::nullopt;
    word = line.substr(0, tab);
    line.remove_prefix(tab + 1);
  }
  CutRequest out;
  out.client = words[0];
  bool known = false;
  for (const auto phase : {CutRequest::Phase::kReceiving, CutRequest::Phase::kAnswering, CutRequest::Phase::kUnknown}) {
    if (words[1] != PhaseName(phase)) continue;
    out.phase = phase;
    known = true;
  }
  if (!known || !ParseNumber(words[2], out.bytes_sent) || !ParseNumber(words[3], out.bytes_left) ||
      !ParseNumber(words[4], out.age_ms)) {
    return std::nullopt;
  }
  out.request = line;
  return out;
}

std::string CutText(const CutRequest& request) {
  std::string out = request.request.empty() ? "a request" : "\"" + Printable(request.request) + "\"";
  out += " from " + (request.client.empty() ? "an unknown client" : Printable(request.client));
  if (request.phase == CutRequest::Phase::kReceiving) out += ", which had not arrived completely";
  if (request.bytes_sent) out += ", " + std::to_string(*request.bytes_sent) + " bytes sent";
  if (request.bytes_left) out += ", " + std::to_string(*request.bytes_left) + " left";
  char age[32];
  std::snprintf(age, sizeof age, ", %.1f s old", static_cast<double>(request.age_ms) / 1000.0);
  return out + age;
}

}  // namespace handover
