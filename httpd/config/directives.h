#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/tree.h"

namespace httpd::config {

class Builder;
struct Scope;

/// Where a directive may stand. The kOverride... bits: also in .htaccess files, where AllowOverride has that class.
enum ContextBit : unsigned {
  kInServer = 1,
  kInHost = 2,
  kInSection = 4,
  kOverrideAuthConfig = 8,
  kOverrideLimit = 16,
  kOverrideOptions = 32,
  kOverrideFileInfo = 64,
  kOverrideIndexes = 128,
  kOverrideAny = 8 | 16 | 32 | 64 | 128,  ///< with whatever class is allowed
  kInHosts = kInServer | kInHost,
  kAnywhere = kInServer | kInHost | kInSection,
};

/// How many arguments a directive takes. kRaw: the handler cuts the arguments itself (sections).
enum class Arity {
  kOne,
  kOneOrTwo,
  kNone,
  kTwo,
  kTwoOrThree,
  kOneToThree,
  kThree,
  kAny,
  kAtLeastOne,
  kAtLeastTwo,
  kFlag,
  kListen,
  kRaw
};

/// What is wrong, as Apache would say it; nothing when all is well.
using Complaint = std::optional<std::string>;

/// Directives that act while the tree is being read, because they decide what is read next.
enum class OnRead {
  kNo,
  kServerRoot,
  kInclude,
  kIncludeOptional,
  kDefine,
  kUnDefine,
  kLoadModule,
  kIfDefine,
  kIfModule,
  kIfVersion,
  kIfDirective,
  kIfSection,
  kIfFile
};

/// One directive: this table drives parsing, context checks, the errors and `httpd -L`.
struct Directive {
  const char* name;    ///< sections with their '<', as in Apache's -L
  const char* module;  ///< file name of the module: "core.c"
  unsigned contexts;
  Arity arity;
  const char* help;
  OnRead on_read;
  Complaint (*apply)(Builder&, Scope&, const Node&, const std::vector<std::string>& words);  ///< null when on_read
  const char* syntax = "";   ///< arguments, for the reference: "[cond] URL-path URL"; "" = from the arity
  const char* initial = "";  ///< what holds when it is not said; "" = nothing
  const char* about = "";    ///< a paragraph for the reference, beyond `help`; "" = `help` says it all
};

/// All of them: the core's, then those of the registered modules.
const std::vector<Directive>& Directives();

/// How a module names itself: "mod_headers.c" in messages and -l, "headers_module" in LoadModule and <IfModule>.
struct ModuleName {
  const char* file;
  const char* identifier;
};
const std::vector<ModuleName>& BuiltInModules();

/// Adds a module and its directives, which are of this module whatever they say. For the start of the program, before
/// anything is read: not thread-safe. The second call with the same identifier changes nothing.
void RegisterModule(const ModuleName& name, const std::vector<Directive>& directives);

/// Case-insensitive; nullptr when there is none.
const Directive* FindDirective(std::string_view name);

/// "Invalid command 'Foo', perhaps misspelled ..." with a guess when one is near.
std::string UnknownDirective(std::string_view name);

/// Checks the number of words. An empty required word counts as missing, as in Apache.
Complaint CheckArity(const Directive& directive, const std::vector<std::string>& words);

/// Text between the name of a section and its last '>'.
std::string_view SectionArguments(const Node& node);

}  // namespace httpd::config
