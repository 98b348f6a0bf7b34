// Functions and operators of expressions. Source  httpd 2.4 manual, expr.html
#include <Poco/Base64Decoder.h>
#include <Poco/Base64Encoder.h>
#include <Poco/MD5Engine.h>
#include <Poco/SHA1Engine.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <sstream>

#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/expression_tree.h"
#include "httpd/modules/module.h"
#include "httpd/modules/request_variables.h"
#include "httpd/modules/ssl.h"
#include "os/file.h"

namespace httpd::modules {

namespace {

using std::string;

constexpr uint64_t kMaxFileBytes = 10 * 1024 * 1024;

string RequestField(Evaluation& evaluation, const string& name) {
  evaluation.Reads(name);
  return Joined(evaluation.state.head(), name);
}

string RequestFieldQuietly(Evaluation& evaluation, const string& name) {
  return Joined(evaluation.state.head(), name);
}

string ResponseField(Evaluation& evaluation, const string& name) {
  const net::Response* response = evaluation.state.response;
  return response ? string(FindField(response->fields, name)) : "";
}

string Variable(Evaluation& evaluation, const string& name) {
  const string* value = evaluation.state.environment.Find(name);
  return value ? *value : "";
}

string ProcessVariable(Evaluation&, const string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? value : "";
}

string Note(Evaluation& evaluation, const string& name) {
  for (const auto& [note, value] : evaluation.state.notes) {
    if (http::EqualsIgnoreCase(note, name)) return value;
  }
  return "";
}

string AnyVariable(Evaluation& evaluation, const string& name) {
  return EnvironmentValue(evaluation.state, name);
}

string OfSsl(Evaluation& evaluation, const string& name) {
  return SslVariable(evaluation.state, name);
}

string ToLower(Evaluation&, const string& text) {
  string out = text;
  std::transform(out.begin(), out.end(), out.begin(), http::Lower);
  return out;
}

string ToUpper(Evaluation&, const string& text) {
  string out = text;
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

string Escape(Evaluation&, const string& text) {
  // A slash in front: a whole path gets no "./" before a colon.
  return http::EscapePath("/" + text).substr(1);
}

string Unescape(Evaluation&, const string& text) {
  string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? http::HexValue(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? http::HexValue(text[i + 2]) : -1;
    if (high < 0 || low < 0 || (high == 0 && low == 0)) return "";
    const char c = static_cast<char>(high * 16 + low);
    if (c == '/') {
      out.append(text, i, 3);
    } else {
      out.push_back(c);
    }
    i += 2;
  }
  return out;
}

string Base64(Evaluation&, const string& text) {
  std::ostringstream out;
  Poco::Base64Encoder encoder(out);
  encoder.rdbuf()->setLineLength(0);
  encoder << text;
  encoder.close();
  return out.str();
}

/// Up to the first byte that is not of the alphabet, as APR's; a text ends at its first NUL.
string Unbase64(Evaluation&, const string& text) {
  const auto end = std::find_if(text.begin(), text.end(), [](char c) {
    return !((http::Lower(c) >= 'a' && http::Lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/');
  });
  string digits(text.begin(), end);
  if (digits.size() % 4 == 1) digits.pop_back();
  digits.append((4 - digits.size() % 4) % 4, '=');
  std::istringstream in(digits);
  Poco::Base64Decoder decoder(in);
  string out{std::istreambuf_iterator<char>(decoder), std::istreambuf_iterator<char>()};
  return out.substr(0, out.find('\0'));
}

template <class Engine>
string Digest(Evaluation&, const string& text) {
  Engine engine;
  engine.update(text);
  return Poco::DigestEngine::digestToHex(engine.digest());
}

string File(Evaluation& evaluation, const string& path) {
  struct stat info {};
  // Asked first, so that a pipe or a device is never waited for.
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
    evaluation.Fail("Cannot open file " + path);
    return "";
  }
  if (static_cast<uint64_t>(info.st_size) > kMaxFileBytes) {
    evaluation.Fail("File " + path + " too large");
    return "";
  }
  auto text = os::ReadFile(path, kMaxFileBytes);
  if (!text) {
    evaluation.Fail("Cannot open file " + path);
    return "";
  }
  const string& bytes = text.value();
  return bytes.substr(0, bytes.find('\0'));
}

string FileSize(Evaluation&, const string& path) {
  struct stat info {};
  const bool is_file = ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
  return std::to_string(is_file ? info.st_size : 0);
}

bool IsNotEmpty(Evaluation&, const string& text) {
  return !text.empty();
}

bool IsEmpty(Evaluation&, const string& text) {
  return text.empty();
}

bool IsOn(Evaluation&, const string& text) {
  return !text.empty() && text != "0" && !http::EqualsIgnoreCase(text, "off") && !http::EqualsIgnoreCase(text, "no") &&
         !http::EqualsIgnoreCase(text, "false");
}

bool IsInNetwork(Evaluation&, const string& address, const string& network) {
  const auto parsed = http::Network::Parse(network);
  return parsed && parsed.value().Holds(address);
}

bool IsClientInNetwork(Evaluation& evaluation, const string& network) {
  return IsInNetwork(evaluation, string(evaluation.state.client_address()), network);
}

template <class Test>
bool TestFile(const string& path, Test test) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && test(info);
}

bool IsDirectory(Evaluation&, const string& path) {
  return TestFile(path, [](const struct stat& info) { return S_ISDIR(info.st_mode); });
}

bool Exists(Evaluation&, const string& path) {
  return TestFile(path, [](const struct stat&) { return true; });
}

bool IsFile(Evaluation&, const string& path) {
  return TestFile(path, [](const struct stat& info) { return S_ISREG(info.st_mode); });
}

bool IsFilled(Evaluation&, const string& path) {
  return TestFile(path, [](const struct stat& info) { return S_ISREG(info.st_mode) && info.st_size > 0; });
}

bool IsLink(Evaluation&, const string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISLNK(info.st_mode);
}

bool IsExecutable(Evaluation&, const string& path) {
  return TestFile(path, [](const struct stat& info) { return (info.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) != 0; });
}

/// A look-up meets the conditions of the place that it looks at, which may ask for look-ups again: twice is enough, or
/// one line of an .htaccess file could cost a tree of them.
bool MayLookUp(Evaluation& evaluation) {
  const RequestState* state = &evaluation.state;
  if (!state->engine) return false;
  if (state->parent && state->parent->parent) {
    evaluation.Fail("Recursion limit reached");
    return false;
  }
  return true;
}

bool IsUrl(Evaluation& evaluation, const string& url) {
  if (!MayLookUp(evaluation)) return false;
  RequestState& state = evaluation.state;
  const size_t question = url.find('?');
  string path = url.substr(0, question);
  if (!path.starts_with('/')) path = http::EscapePath(state.path.substr(0, state.path.rfind('/') + 1)) + path;
  auto decoded = http::DecodePath(path);
  if (!decoded) return false;
  string target = std::move(decoded).value();
  if (question != string::npos) target += url.substr(question);
  const auto found = state.engine->LookUp(state, target);
  return found && found->status < 400;
}

bool IsReachableFile(Evaluation& evaluation, const string& file) {
  if (!MayLookUp(evaluation)) return false;
  const auto found = evaluation.state.engine->LookUpFile(evaluation.state, file);
  return found && found->status < 300 && found->exists();
}

bool MatchesGlob(Evaluation&, const string& text, const string& pattern) {
  return http::WildcardMatch(pattern, text, false);
}

bool MatchesGlobNoCase(Evaluation& evaluation, const string& text, const string& pattern) {
  return http::WildcardMatch(ToLower(evaluation, pattern), ToLower(evaluation, text), false);
}

bool MatchesFileName(Evaluation&, const string& text, const string& pattern) {
  return http::WildcardMatch(pattern, text, true);
}

constexpr ExpressionProvider<StringFunction> kFunctions[] = {
    {"req", RequestField},
    {"http", RequestField},
    {"req_novary", RequestFieldQuietly},
    {"resp", ResponseField},
    {"reqenv", Variable},
    {"osenv", ProcessVariable},
    {"note", Note},
    {"env", AnyVariable},
    {"SSL", OfSsl},
    {"tolower", ToLower},
    {"toupper", ToUpper},
    {"escape", Escape},
    {"unescape", Unescape},
    {"base64", Base64},
    {"unbase64", Unbase64},
    {"md5", Digest<Poco::MD5Engine>},
    {"sha1", Digest<Poco::SHA1Engine>},
    {"file", File, true},
    {"filesize", FileSize, true},
};

constexpr ExpressionProvider<UnaryFunction> kUnaryOperators[] = {
    {"n", IsNotEmpty},  {"z", IsEmpty}, {"T", IsOn},         {"R", IsClientInNetwork, false, true},
    {"d", IsDirectory}, {"e", Exists},  {"f", IsFile},       {"s", IsFilled},
    {"L", IsLink},      {"h", IsLink},  {"x", IsExecutable}, {"F", IsReachableFile},
    {"U", IsUrl},       {"A", IsUrl},
};

bool IsInPeerExtList(Evaluation& evaluation, const std::string& value, const std::string& extension) {
  return IsInClientExtensions(evaluation.state, value, extension);
}

constexpr ExpressionProvider<BinaryFunction> kListFunctions[] = {{"PeerExtList", IsInPeerExtList}};

constexpr ExpressionProvider<BinaryFunction> kBinaryOperators[] = {
    {"ipmatch", IsInNetwork, false, true},
    {"fnmatch", MatchesFileName},
    {"strmatch", MatchesGlob},
    {"strcmatch", MatchesGlobNoCase},
};

template <class Table, class Same>
auto Find(const Table& table, std::string_view name, Same same) {
  const auto* found =
      std::find_if(std::begin(table), std::end(table), [&](const auto& entry) { return same(entry.name, name); });
  return found == std::end(table) ? nullptr : found;
}

}  // namespace

void Evaluation::Reads(std::string_view name) {
  if (http::EqualsIgnoreCase(name, "Host")) return;
  if (!vary.empty()) vary += ", ";
  vary += name;
}

const ExpressionProvider<StringFunction>* FindExpressionFunction(std::string_view name) {
  return Find(kFunctions, name, http::EqualsIgnoreCase);
}

const ExpressionProvider<UnaryFunction>* FindUnaryOperator(std::string_view name) {
  return Find(kUnaryOperators, name, std::equal_to<>());
}

const ExpressionProvider<BinaryFunction>* FindBinaryOperator(std::string_view name) {
  return Find(kBinaryOperators, name, http::EqualsIgnoreCase);
}

const ExpressionProvider<BinaryFunction>* FindListFunction(std::string_view name) {
  return Find(kListFunctions, name, http::EqualsIgnoreCase);
}

}  // namespace httpd::modules
