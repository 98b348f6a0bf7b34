#include "httpd/config/reference.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "httpd/config/directive_tables.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

constexpr size_t kLineWidth = 76;

constexpr char kHead[] = R"(.Dd November 21, 2026
.Dt HTTPD.CONF 5
.Os Baton
.Sh NAME
.Nm httpd.conf
.Nd directives of httpd
.Sh DESCRIPTION
.Xr httpd 8
reads the configuration language of Apache HTTP Server 2.4.
This page is printed by
.Ql httpd --directive-reference
from the table that the program itself works with.
.Pp
A line holds one directive and its arguments; a backslash at its end goes on
in the next one.
Lines that begin with
.Sq #
are comments.
An argument with blanks stands in single or double quotes.
.Cm ${NAME}
is what
.Ic Define
or
.Fl D
gave, or else the environment.
Directives between
.Ic <Section>
and
.Ic </Section>
hold for that section only.
.Pp
Where a directive may stand:
.Bl -tag -width "virtual host"
.It server
outside any section
.It virtual host
in
.Ic <VirtualHost>
.It section
in
.Ic <Directory> , <Files> , <Location> , <If>
and their like
.It .htaccess
in the files that
.Ic AccessFileName
names, where
.Ic AllowOverride
has the class in parentheses
.El
.Pp
.Ql httpd -t
tells every mistake of a configuration.
A directive that does not exist is one; the nearest that exists is named.
.Sh MODULES
Every module is built in;
.Ic LoadModule
takes any path.
A configuration without
.Ic LoadModule
has them all.
In one with it,
.Ic <IfModule>
and
.Ic <IfDirective>
hold for the modules that were loaded, and for those that Apache has
compiled in.
Modules of Apache that do the work of the core
.Pq mpm_*, socache_*, slotmem_*, watchdog
are accepted, others that are missing here are an error that says what to do.
)";

constexpr char kTail[] = R"(.Sh SEE ALSO
.Xr httpd 8 ,
.Xr httpdctl 8
.Pp
The manual of Apache HTTP Server 2.4, for each directive at length.
)";

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '"') {
      out += "\\(dq";
    } else {
      out += c;
    }
  }
  return out;
}

// Text lines: a sentence begins a line, none is long, and none looks like a request of roff.
void AppendText(std::string_view text, std::string& out) {
  std::string line;
  const auto flush = [&] {
    if (!line.empty()) out += line + "\n";
    line.clear();
  };
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    std::string word = Escaped(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    if (line.size() + word.size() >= kLineWidth) flush();
    if (line.empty() && (word[0] == '.' || word[0] == '\'')) word.insert(0, "\\&");
    line += (line.empty() ? "" : " ") + word;
    if (word.size() > 1 && word.back() == '.') flush();
  }
  flush();
}

std::string Sentence(std::string text) {
  if (text.empty()) return text;
  if (std::islower(static_cast<unsigned char>(text[0]))) {
    text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  }
  if (text.back() != '.') text += '.';
  return text;
}

std::string Argument(const std::string& text) {
  return text.empty() ? "" : " Ar \"\\&" + Escaped(text) + "\"";
}

void AppendDirective(const Directive& directive, std::string& out) {
  std::string syntax = SyntaxOf(directive);
  if (directive.name[0] == '<' && !syntax.ends_with('>')) syntax += '>';
  out += std::string(".It Ic \"\\&") + Escaped(directive.name) + "\"" + Argument(syntax) + "\n";
  AppendText(Sentence(directive.help), out);
  AppendText(Sentence(directive.about), out);
  const auto fact = [&](const char* title, const std::string& text) {
    if (text.empty()) return;
    out += ".br\n";
    AppendText(std::string(title) + ": " + text, out);
  };
  fact("Default", directive.initial);
  fact("Allowed in", ContextsOf(directive));
  fact("Module", directive.module);
}

std::string_view SortKey(const Directive& directive) {
  std::string_view name = directive.name;
  if (name.starts_with('<')) name.remove_prefix(1);
  return name;
}

}  // namespace

std::string SyntaxOf(const Directive& directive) {
  if (*directive.syntax) return directive.syntax;
  switch (directive.arity) {
    case Arity::kOne:
      return "value";
    case Arity::kOneOrTwo:
      return "value [value]";
    case Arity::kTwo:
      return "value value";
    case Arity::kTwoOrThree:
      return "value value [value]";
    case Arity::kOneToThree:
      return "value [value [value]]";
    case Arity::kThree:
      return "value value value";
    case Arity::kAny:
      return "[value ...]";
    case Arity::kAtLeastOne:
      return "value ...";
    case Arity::kAtLeastTwo:
      return "value value ...";
    case Arity::kFlag:
      return "On|Off";
    case Arity::kListen:
      return "[address:]port [protocol]";
    case Arity::kNone:
    case Arity::kRaw:
      break;
  }
  return "";
}

std::string ContextsOf(const Directive& directive) {
  static constexpr std::pair<unsigned, const char*> kPlaces[] = {
      {kInServer, "server"}, {kInHost, "virtual host"}, {kInSection, "section"}};
  static constexpr std::pair<unsigned, const char*> kClasses[] = {{kOverrideAuthConfig, "AuthConfig"},
                                                                  {kOverrideLimit, "Limit"},
                                                                  {kOverrideOptions, "Options"},
                                                                  {kOverrideFileInfo, "FileInfo"},
                                                                  {kOverrideIndexes, "Indexes"}};
  std::string out;
  for (const auto& [bit, name] : kPlaces) {
    if (directive.contexts & bit) out += (out.empty() ? "" : ", ") + std::string(name);
  }
  const unsigned overrides = directive.contexts & kOverrideAny;
  if (overrides == 0) return out;
  out += out.empty() ? ".htaccess (" : ", .htaccess (";
  if (overrides == kOverrideAny) return out + "any class)";
  std::string classes;
  for (const auto& [bit, name] : kClasses) {
    if (overrides & bit) classes += (classes.empty() ? "" : " or ") + std::string(name);
  }
  return out + classes + ")";
}

std::string DirectiveReference() {
  std::set<std::string_view> ignored;
  const std::vector<Directive> without_meaning = IgnoredDirectives();
  for (const Directive& directive : without_meaning) ignored.insert(directive.name);
  std::vector<const Directive*> sorted;
  for (const Directive& directive : Directives()) sorted.push_back(&directive);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto* a, const auto* b) { return LowerCase(SortKey(*a)) < LowerCase(SortKey(*b)); });
  std::string out = kHead;
  out += ".Sh DIRECTIVES\n.Bl -tag -width Ds\n";
  for (const Directive* directive : sorted) {
    if (ignored.count(directive->name) == 0) AppendDirective(*directive, out);
  }
  out += ".El\n.Sh DIRECTIVES WITHOUT MEANING HERE\n";
  AppendText("They are accepted with a notice, so that existing configurations load.", out);
  out += ".Bl -tag -width Ds\n";
  for (const Directive* directive : sorted) {
    if (ignored.count(directive->name) > 0) AppendDirective(*directive, out);
  }
  return out + ".El\n" + kTail;
}

}  // namespace httpd::config
