// mod_headers: Header, RequestHeader. Source  httpd 2.4 manual, mod_headers
#include <Poco/RegularExpression.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/expression.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/ssl.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Regex = Poco::RegularExpression;
using Words = std::vector<std::string>;

enum class Action { kAdd, kAppend, kEcho, kEdit, kEditAll, kMerge, kSet, kSetIfEmpty, kUnset };

/// A piece of a value: text, or what a %-directive stands for.
struct Piece {
  enum class Kind { kText, kDuration, kTime, kLoad, kVariable, kTls };
  Kind kind = Kind::kText;
  std::string text;  ///< kText, and the name of kVariable or kTls
};

struct Edit {
  Action action = Action::kSet;
  std::string name;
  std::vector<Piece> value;
  std::shared_ptr<Regex> pattern;                ///< kEdit, kEditAll; kEcho: of names
  std::string replacement;                       ///< kEdit, kEditAll
  std::shared_ptr<const Expression> expression;  ///< expr= instead of value or replacement
  std::shared_ptr<const Expression> condition;   ///< expr= clause
  std::string variable;                          ///< env=: "" = always
  bool unless = false;                           ///< env=!
  bool early = false;
  bool always = false;  ///< Header: for error answers, too
};

struct HeaderSettings final : config::ModuleSettings {
  std::vector<std::shared_ptr<const Edit>> response;
  std::vector<std::shared_ptr<const Edit>> request;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const HeaderSettings&>(other);
    auto out = std::make_unique<HeaderSettings>(*this);
    out->response.insert(out->response.end(), inner.response.begin(), inner.response.end());
    out->request.insert(out->request.end(), inner.request.begin(), inner.request.end());
    return out;
  }
};

bool IsToken(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

Complaint CompileValue(const std::string& text, std::vector<Piece>& out) {
  auto add_text = [&out](char c) {
    if (out.empty() || out.back().kind != Piece::Kind::kText) out.push_back({});
    out.back().text += c;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      // Apache's escapes in the configuration file; a line end would begin another field.
      if (text[i] == '\\' && i + 1 < text.size()) {
        const char next = text[++i];
        if (next == 'n' || next == 'r') return "Header value must not hold a line end";
        add_text(next == 't' ? '\t' : next);
        continue;
      }
      add_text(text[i]);
      continue;
    }
    if (++i >= text.size()) {  // a % at the end stands for itself
      add_text('%');
      break;
    }
    std::string argument;
    if (text[i] == '{') {
      const size_t end = text.find('}', i);
      if (end == std::string::npos || end + 1 >= text.size()) return "Missing closing brace in a header format";
      argument = text.substr(i + 1, end - i - 1);
      i = end + 1;
    }
    switch (text[i]) {
      case '%':
        add_text('%');
        break;
      case 't':
        out.push_back({Piece::Kind::kTime, ""});
        break;
      case 'D':
        out.push_back({Piece::Kind::kDuration, ""});
        break;
      case 'l':
        out.push_back({Piece::Kind::kLoad, ""});
        break;
      case 'e':
        out.push_back({Piece::Kind::kVariable, argument});
        break;
      case 's':
        out.push_back({Piece::Kind::kTls, argument});
        break;
      default:
        return std::string("Unrecognized header format %") + text[i];
    }
  }
  return std::nullopt;
}

Complaint CompilePattern(const Node& node, const std::string& text, std::shared_ptr<Regex>& out) {
  auto compiled = CompileRegex(text);
  if (!compiled) return node.name + ": regex could not be compiled: " + compiled.error().what;
  out = std::move(compiled).value();
  return std::nullopt;
}

/// expr=, taken off already.
Complaint CompileExpr(const Scope& scope, const Node& node, const std::string& text, ExpressionKind kind,
                      std::shared_ptr<const Expression>& out) {
  auto compiled = Expression::Compile(
      text, kind, scope.htaccess ? ExpressionFiles::kRefused : ExpressionFiles::kAllowed, node.where);
  if (!compiled) {
    return (kind == ExpressionKind::kString ? "Can't parse value expression : "
                                            : "Can't parse envclause/expression: ") +
           compiled.error().what;
  }
  out = std::move(compiled).value();
  return std::nullopt;
}

/// [condition] action name [value [replacement]] [early|env=[!]variable|expr=expression]
Complaint AddEdit(Scope& scope, const Node& node, const Words& all, bool is_request) {
  static const std::pair<const char*, Action> kActions[] = {{"add", Action::kAdd},
                                                            {"append", Action::kAppend},
                                                            {"edit", Action::kEdit},
                                                            {"edit*", Action::kEditAll},
                                                            {"merge", Action::kMerge},
                                                            {"set", Action::kSet},
                                                            {"setifempty", Action::kSetIfEmpty},
                                                            {"unset", Action::kUnset},
                                                            {"echo", Action::kEcho}};
  Words words = all;
  Edit edit;
  if (!is_request && !words.empty()) {
    edit.always = config::SameIgnoringCase(words[0], "always");
    if (edit.always || config::SameIgnoringCase(words[0], "onsuccess")) words.erase(words.begin());
  }
  if (words.size() < 2) return node.name + " requires at least two arguments";
  if (config::SameIgnoringCase(words[0], "note")) return node.name + " note is not supported yet";
  const auto action = std::find_if(std::begin(kActions), std::end(kActions),
                                   [&](const auto& known) { return config::SameIgnoringCase(words[0], known.first); });
  if (action == std::end(kActions) || (is_request && action->second == Action::kEcho)) {
    return "first argument must be 'add', 'set', 'setifempty', 'append', 'merge', 'unset', " +
           std::string(is_request ? "" : "'echo', ") + "'edit', or 'edit*'.";
  }
  edit.action = action->second;
  edit.name = words[1];
  if (edit.name.ends_with(':')) edit.name.pop_back();
  size_t next = 2;
  const bool is_edit = edit.action == Action::kEdit || edit.action == Action::kEditAll;
  if (edit.action == Action::kEcho) {
    if (auto complaint = CompilePattern(node, edit.name, edit.pattern)) return complaint;
  } else if (!IsToken(edit.name)) {
    return node.name + ": \"" + words[1] + "\" is not the name of a header";
  } else if (edit.action != Action::kUnset) {
    if (next >= words.size()) return node.name + " requires three arguments";
    const std::string& value = words[next++];
    if (is_edit) {
      if (next >= words.size()) return node.name + " edit requires a regular expression and a replacement";
      if (auto complaint = CompilePattern(node, value, edit.pattern)) return complaint;
      edit.replacement = words[next++];
      if (edit.replacement.starts_with("expr=")) {
        if (auto complaint =
                CompileExpr(scope, node, edit.replacement.substr(5), ExpressionKind::kString, edit.expression)) {
          return complaint;
        }
      }
    } else if (value.starts_with("expr=")) {
      if (auto complaint = CompileExpr(scope, node, value.substr(5), ExpressionKind::kString, edit.expression)) {
        return complaint;
      }
    } else if (auto complaint = CompileValue(value, edit.value)) {
      return complaint;
    }
  }
  if (next < words.size()) {
    const std::string& clause = words[next++];
    if (config::SameIgnoringCase(clause, "early")) {
      if (scope.section) return "Header ... early cannot be used in a " + scope.parent->name + "> section";
      edit.early = true;
    } else if (clause.starts_with("env=")) {
      edit.variable = clause.substr(4);
      edit.unless = edit.variable.starts_with('!');
      if (edit.unless) edit.variable.erase(0, 1);
      if (edit.variable.empty()) return "missing environment variable name";
    } else if (clause.starts_with("expr=")) {
      if (auto complaint = CompileExpr(scope, node, clause.substr(5), ExpressionKind::kCondition, edit.condition)) {
        return complaint;
      }
    } else {
      return "error: envclause should be in the form env=envar";
    }
  }
  if (next < words.size())
    return node.name + ": '" + words[next] + "' is one word too many (a value with blanks needs quotes)";
  auto& settings = config::SettingsOf<HeaderSettings>(scope);
  (is_request ? settings.request : settings.response).push_back(std::make_shared<const Edit>(std::move(edit)));
  return std::nullopt;
}

Complaint AddHeader(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  return AddEdit(scope, node, words, false);
}

Complaint AddRequestHeader(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  return AddEdit(scope, node, words, true);
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  constexpr unsigned kAnywhere = config::kAnywhere | config::kOverrideFileInfo;
  static const std::vector<config::Directive> table = {
      {"Header", "mod_headers.c", kAnywhere, Arity::kAtLeastTwo,
       "an optional condition, an action, header and value followed by optional env clause", config::OnRead::kNo,
       AddHeader},
      {"RequestHeader", "mod_headers.c", kAnywhere, Arity::kAtLeastTwo,
       "an action, header and value followed by optional env clause", config::OnRead::kNo, AddRequestHeader},
  };
  return table;
}

/// A client's text may have come in: it must not end the field.
std::string OneLine(std::string value) {
  for (char& c : value) {
    if (c == '\r' || c == '\n' || c == '\0') c = ' ';
  }
  return value;
}

std::string ValueOf(const Edit& edit, RequestState& state) {
  using std::chrono::duration_cast;
  using std::chrono::microseconds;
  if (edit.expression) return OneLine(edit.expression->Text(state));
  std::string out;
  for (const Piece& piece : edit.value) {
    switch (piece.kind) {
      case Piece::Kind::kText:
        out += piece.text;
        break;
      case Piece::Kind::kTime:
        out += "t=" + std::to_string(duration_cast<microseconds>(state.request->start.time_since_epoch()).count());
        break;
      case Piece::Kind::kDuration: {
        const auto passed = std::chrono::system_clock::now() - state.request->start;
        out += "D=" + std::to_string(std::max<int64_t>(0, duration_cast<microseconds>(passed).count()));
        break;
      }
      case Piece::Kind::kLoad: {
        double load[3] = {0, 0, 0};
        char text[64];
        (void)(::getloadavg(load, 3) == 3);
        std::snprintf(text, sizeof text, "l=%.2f %.2f %.2f", load[0], load[1], load[2]);
        out += text;
        break;
      }
      case Piece::Kind::kVariable: {
        const std::string* value = state.environment.Find(piece.text);
        out += value ? *value : "(null)";
        break;
      }
      case Piece::Kind::kTls: {
        const std::string value = SslVariable(state, piece.text);
        out += value.empty() ? "(null)" : value;
        break;
      }
    }
  }
  return OneLine(std::move(out));
}

bool Holds(const Edit& edit, RequestState& state) {
  if (edit.condition) return edit.condition->Holds(state);
  return edit.variable.empty() || (state.environment.Find(edit.variable) != nullptr) != edit.unless;
}

/// `edit` once, `edit*` wherever the pattern holds.
std::string Edited(const Edit& edit, const std::string& value, RequestState& state) {
  // Not Poco's subst(): it never comes back from a pattern that matches nothing.
  const std::string replacement = edit.expression ? edit.expression->Text(state) : edit.replacement;
  std::string out;
  std::string rest = value;
  Regex::MatchVec groups;
  while (Finds(state, *edit.pattern, rest, &groups)) {
    const size_t end = groups[0].offset + groups[0].length;
    out.append(rest, 0, groups[0].offset).append(ExpandGroups(replacement, rest, groups));
    const size_t step = groups[0].length > 0 || end == rest.size() ? 0 : 1;
    out.append(rest, end, step);
    const bool was_last = end == rest.size();
    rest.erase(0, end + step);
    if (was_last || edit.action != Action::kEditAll) break;
  }
  return OneLine(out + rest);
}

/// Whether `value` is one of the comma-separated members of `list`. Source  mod_headers `merge`
bool Contains(std::string_view list, std::string_view value) {
  while (!list.empty()) {
    bool quoted = false;
    size_t end = 0;
    for (; end < list.size() && (quoted || list[end] != ','); ++end) {
      if (list[end] == '"') quoted = !quoted;
      if (quoted && list[end] == '\\') ++end;
    }
    std::string_view member = list.substr(0, std::min(end, list.size()));
    list.remove_prefix(std::min(end + 1, list.size()));
    while (!member.empty() && (member.front() == ' ' || member.front() == '\t')) member.remove_prefix(1);
    while (!member.empty() && (member.back() == ' ' || member.back() == '\t')) member.remove_suffix(1);
    if (member == value) return true;
  }
  return false;
}

const http::HeaderField* FirstOf(const http::RequestHead& head, std::string_view name) {
  for (const http::HeaderField& field : head.fields) {
    if (config::SameIgnoringCase(field.name, name)) return &field;
  }
  return nullptr;
}

void Apply(const Edit& edit, RequestState& state, std::string& fields) {
  const std::string_view before = FindField(fields, edit.name);
  switch (edit.action) {
    case Action::kAdd:
      AppendField(fields, edit.name, ValueOf(edit, state));
      break;
    case Action::kSet:
      RemoveField(fields, edit.name);
      AppendField(fields, edit.name, ValueOf(edit, state));
      break;
    case Action::kSetIfEmpty:
      if (before.data() == nullptr) AppendField(fields, edit.name, ValueOf(edit, state));
      break;
    case Action::kUnset:
      RemoveField(fields, edit.name);
      break;
    case Action::kAppend:
    case Action::kMerge: {
      const std::string value = ValueOf(edit, state);
      if (before.data() == nullptr) {
        AppendField(fields, edit.name, value);
      } else if (edit.action == Action::kAppend || !Contains(before, value)) {
        bool first = true;
        ChangeFields(fields, edit.name,
                     [&](const std::string& old) { return std::exchange(first, false) ? old + ", " + value : old; });
      }
      break;
    }
    case Action::kEdit:
    case Action::kEditAll:
      if (before.data() != nullptr) {
        ChangeFields(fields, edit.name, [&](const std::string& old) { return Edited(edit, old, state); });
      }
      break;
    case Action::kEcho:
      for (const http::HeaderField& field : state.head().fields) {
        if (!Finds(state, *edit.pattern, std::string(field.name))) continue;
        if (&field == FirstOf(state.head(), field.name))
          AppendField(fields, field.name, Joined(state.head(), field.name));
      }
      break;
  }
}

void ApplyToRequest(const Edit& edit, RequestState& state) {
  const std::string_view before = state.Header(edit.name);
  switch (edit.action) {
    case Action::kAdd:
      state.AddHeader(edit.name, ValueOf(edit, state));
      break;
    case Action::kSet:
      state.SetHeader(edit.name, ValueOf(edit, state));
      break;
    case Action::kSetIfEmpty:
      if (before.data() == nullptr) state.AddHeader(edit.name, ValueOf(edit, state));
      break;
    case Action::kUnset:
      state.RemoveHeader(edit.name);
      break;
    case Action::kAppend:
    case Action::kMerge: {
      const std::string value = ValueOf(edit, state);
      if (before.data() == nullptr) {
        state.AddHeader(edit.name, value);
      } else if (edit.action == Action::kAppend || !Contains(before, value)) {
        state.SetHeader(edit.name, std::string(before) + ", " + value);
      }
      break;
    }
    case Action::kEdit:
    case Action::kEditAll:
      if (before.data() != nullptr) state.SetHeader(edit.name, Edited(edit, std::string(before), state));
      break;
    case Action::kEcho:
      break;
  }
}

void Early(RequestState& state) {
  const auto* settings = SettingsFor<HeaderSettings>(state);
  if (!settings) return;
  for (const auto& edit : settings->request) {
    if (edit->early && Holds(*edit, state)) ApplyToRequest(*edit, state);
  }
  for (const auto& edit : settings->response) {
    if (edit->early && Holds(*edit, state)) Apply(*edit, state, state.response->fields);
  }
}

Verdict Fixup(RequestState& state) {
  const auto* settings = SettingsFor<HeaderSettings>(state);
  if (!settings) return Verdict::Declined();
  for (const auto& edit : settings->request) {
    if (!edit->early && Holds(*edit, state)) ApplyToRequest(*edit, state);
  }
  return Verdict::Declined();
}

/// `always` first, then those for what succeeded: Apache's order.
void Output(RequestState& state) {
  const auto* settings = SettingsFor<HeaderSettings>(state);
  if (!settings) return;
  // Apache keeps what `always` makes in a table of its own: the other condition neither sees nor changes it. Taking
  // away and editing with `always` reaches what anybody has set.
  std::string& fields = state.response->fields;
  std::string always;
  for (const auto& edit : settings->response) {
    if (!edit->always || edit->early || !Holds(*edit, state)) continue;
    Apply(*edit, state, always);
    const bool takes_away =
        edit->action == Action::kUnset || edit->action == Action::kEdit || edit->action == Action::kEditAll;
    if (takes_away) Apply(*edit, state, fields);
  }
  for (const auto& edit : settings->response) {
    if (state.is_success && !edit->always && !edit->early && Holds(*edit, state)) Apply(*edit, state, fields);
  }
  fields.insert(0, always);
}

/// Whether the value is made of what the configuration says, and of variables.
bool IsFixed(const Edit& edit) {
  return !edit.expression && !edit.condition && edit.action != Action::kEcho &&
         std::all_of(edit.value.begin(), edit.value.end(), [](const Piece& piece) {
           return piece.kind == Piece::Kind::kText || piece.kind == Piece::Kind::kVariable;
         });
}

void Repeats(const RequestState& state, Dependencies& on) {
  for (const HeaderSettings* settings : {HostSettingsFor<HeaderSettings>(state), SettingsFor<HeaderSettings>(state)}) {
    if (!settings) continue;
    for (const auto& edit : settings->response) {
      if (!IsFixed(*edit)) on.OnMore();
    }
    for (const auto& edit : settings->request) {
      // What is not there is not taken away; any other change is another request.
      if (edit->action != Action::kUnset || !IsFixed(*edit)) on.OnMore();
      on.OnField(edit->name);
    }
  }
}

}  // namespace

const Module kHeaders = {.name = {"mod_headers.c", "headers_module"},
                         .directives = Directives,
                         .applies = HasSettings<HeaderSettings>,
                         .early = Early,
                         .fixup = Fixup,
                         .output = Output,
                         .repeats = Repeats};

}  // namespace httpd::modules
