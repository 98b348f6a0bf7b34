#include "httpd/config/command_line.h"

#include <algorithm>
#include <string_view>

#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

constexpr char kLetters[] = "D:C:c:d:f:k:e:E:vVlLtTSMXh?";

std::optional<LogLevel> LevelFromName(const std::string& name) {
  static const char* const kNames[] = {"emerg",  "alert",  "crit",   "error",  "warn",   "notice", "info",   "debug",
                                       "trace1", "trace2", "trace3", "trace4", "trace5", "trace6", "trace7", "trace8"};
  const auto found = std::find(std::begin(kNames), std::end(kNames), LowerCase(name));
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<LogLevel>(found - std::begin(kNames));
}

std::optional<Options::Verb> VerbFromName(std::string_view name) {
  if (name == "start") return Options::Verb::kStart;
  if (name == "stop") return Options::Verb::kStop;
  if (name == "restart") return Options::Verb::kRestart;
  if (name == "graceful") return Options::Verb::kGraceful;
  if (name == "graceful-stop") return Options::Verb::kGracefulStop;
  return std::nullopt;
}

// getopt names the program as it was called.
os::Error Usage1(const Options& options, const std::string& message) {
  return {os::ErrorKind::kInvalid, 0, options.program + ": " + message};
}

// What only asks. The first of them in Apache's order of precedence decides.
struct Asked {
  bool test = false, hosts = false, modules = false, includes = false, config = false, run_config = false;
  std::optional<Options::Action> other;  ///< -v -V -l -L -h: the first on the line, it ends the program there
};

}  // namespace

os::Result<Options> ParseCommandLine(const std::vector<std::string>& arguments) {
  Options options;
  if (!arguments.empty() && !arguments[0].empty()) options.program = arguments[0].substr(arguments[0].rfind('/') + 1);
  Asked asked;
  const auto ask = [&](Options::Action action) {
    if (!asked.other) asked.other = action;
  };
  for (size_t at = 1; at < arguments.size(); ++at) {
    const std::string& word = arguments[at];
    if (word == "--run-config") {
      asked.run_config = true;
      continue;
    }
    if (word == "--directive-reference") {
      ask(Options::Action::kReference);
      continue;
    }
    if (word == "--standby") {
      options.standby = true;
      continue;
    }
    if (word == "--wait") {
      options.wait = true;
      continue;
    }
    if (word.starts_with("--") && word.size() > 2) return Usage1(options, "unrecognized option '" + word + "'");
    if (word.size() < 2 || word[0] != '-' || word == "--") {
      return Usage1(options, "unexpected argument -- " + word);
    }
    for (size_t i = 1; i < word.size(); ++i) {
      const char letter = word[i];
      const std::string_view letters = kLetters;
      const size_t known = letters.find(letter);
      if (letter == ':' || known == std::string_view::npos) {
        return Usage1(options, std::string("illegal option -- ") + letter);
      }
      std::string value;
      if (known + 1 < letters.size() && letters[known + 1] == ':') {
        if (i + 1 < word.size()) {
          value = word.substr(i + 1);
        } else if (at + 1 < arguments.size()) {
          value = arguments[++at];
        } else {
          // Apache's first look at -k does not take a bare one off the line, so getopt meets an unknown letter
          return Usage1(
              options, letter == 'k' ? "illegal option -- k" : std::string("option requires an argument -- ") + letter);
        }
        i = word.size();
      }
      switch (letter) {
        case 'D':
          options.defines.push_back(value);
          if (value == "FOREGROUND") options.foreground = true;
          if (value == "NO_DETACH") options.no_detach = true;
          if (value == "ONE_PROCESS" || value == "DEBUG") options.one_process = true;
          if (value == "DUMP_VHOSTS" || value == "DUMP_RUN_CFG") asked.hosts = true;
          if (value == "DUMP_MODULES") asked.modules = true;
          if (value == "DUMP_INCLUDES") asked.includes = true;
          if (value == "DUMP_CONFIG") asked.config = true;
          break;
        case 'C':
          options.directives_before.push_back(value);
          break;
        case 'c':
          options.directives_after.push_back(value);
          break;
        case 'd':
          options.server_root = value;
          break;
        case 'f':
          options.config_file = value;
          break;
        case 'k': {
          const auto verb = VerbFromName(value);
          if (!verb || options.verb_given) return Usage1(options, "illegal option -- k");
          options.verb = *verb;
          options.verb_given = true;
          break;
        }
        case 'e':
          options.startup_level = LevelFromName(value);
          if (!options.startup_level) return Usage1(options, "unknown level -- " + value);
          break;
        case 'E':
          options.startup_log = value;
          break;
        case 'v':
          ask(Options::Action::kVersion);
          break;
        case 'V':
          ask(Options::Action::kBuild);
          break;
        case 'l':
          ask(Options::Action::kModules);
          break;
        case 'L':
          ask(Options::Action::kDirectives);
          break;
        case 't':
          asked.test = true;
          break;
        case 'T':
          options.skip_document_root_check = true;
          break;
        case 'S':
          asked.test = asked.hosts = true;
          options.defines.insert(options.defines.end(), {"DUMP_VHOSTS", "DUMP_RUN_CFG"});
          break;
        case 'M':
          asked.test = asked.modules = true;
          options.defines.emplace_back("DUMP_MODULES");
          break;
        case 'X':
          options.one_process = true;
          options.defines.emplace_back("DEBUG");
          break;
        default:  // -h -?
          ask(Options::Action::kHelp);
          break;
      }
    }
  }
  options.foreground = options.foreground || options.one_process;
  if (asked.other) {
    options.action = *asked.other;
  } else if (asked.run_config) {
    options.action = Options::Action::kDumpRunConfig;
  } else if (asked.test) {
    // a dump is asked for with -t; `-D DUMP_...` alone is only a name, as in Apache
    options.action = asked.hosts      ? Options::Action::kDumpHosts
                     : asked.modules  ? Options::Action::kDumpModules
                     : asked.includes ? Options::Action::kDumpIncludes
                     : asked.config   ? Options::Action::kDumpConfig
                                      : Options::Action::kTest;
  } else if (options.verb_given && options.verb != Options::Verb::kStart) {
    options.action = Options::Action::kSignal;
  }
  if (options.standby && options.action == Options::Action::kSignal) {
    return Usage1(options, "--standby goes with a start, not with -k stop, restart, graceful or graceful-stop");
  }
  return options;
}

std::string Usage(const std::string& program) {
  const std::string indent(7 + program.size(), ' ');
  return "Usage: " + program + " [-D name] [-d directory] [-f file]\n" + indent +
         " [-C \"directive\"] [-c \"directive\"]\n" + indent + " [-k start|restart|graceful|graceful-stop|stop]\n" +
         indent + " [-v] [-V] [-h] [-l] [-L] [-t] [-T] [-S] [-X]\n" + indent +
         " [--directive-reference] [--run-config] [--standby] [--wait]\n"
         "Options:\n"
         "  -D name            : define a name for use in <IfDefine name> directives\n"
         "  -d directory       : specify an alternate initial ServerRoot\n"
         "  -f file            : specify an alternate ServerConfigFile\n"
         "  -C \"directive\"     : process directive before reading config files\n"
         "  -c \"directive\"     : process directive after reading config files\n"
         "  -e level           : show startup errors of level (see LogLevel)\n"
         "  -E file            : log startup errors to file\n"
         "  -v                 : show version number\n"
         "  -V                 : show compile settings\n"
         "  -h                 : list available command line options (this page)\n"
         "  -l                 : list compiled in modules\n"
         "  -L                 : list available configuration directives\n"
         "  -t -D DUMP_VHOSTS  : show parsed vhost settings\n"
         "  -t -D DUMP_RUN_CFG : show parsed run settings\n"
         "  -S                 : a synonym for -t -D DUMP_VHOSTS -D DUMP_RUN_CFG\n"
         "  -t -D DUMP_MODULES : show all loaded modules \n"
         "  -M                 : a synonym for -t -D DUMP_MODULES\n"
         "  -t -D DUMP_INCLUDES: show all included configuration files\n"
         "  -t -D DUMP_CONFIG  : show the directives in force, with file and line\n"
         "  -t                 : run syntax check for config files\n"
         "  -T                 : start without DocumentRoot(s) check\n"
         "  -X                 : debug mode (only one worker, do not detach)\n"
         "  --directive-reference: show the manual of all directives (mdoc)\n"
         "  --run-config       : show the effective configuration as JSON\n"
         "  --standby          : start everything, accept nothing until told to\n"
         "  --wait             : with -k: return when the work is done\n";
}

}  // namespace httpd::config
