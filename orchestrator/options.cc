#include "orchestrator/options.h"

#define CXXOPTS_VECTOR_DELIMITER '\n'  // a probe's path may hold a comma; an option is repeated instead
#define CXXOPTS_NO_REGEX               // std::regex does not compile without warnings under the sanitizers of g++ 12
#include <cxxopts.hpp>
#include <filesystem>

namespace orchestrator {

namespace {

os::Error Usage(std::string what) {
  return os::Error{os::ErrorKind::kInvalid, 0, std::move(what) + " (see orchestrator --help)"};
}

struct CommandRow {
  std::string_view name;
  Command command;
};
constexpr std::array kCommands = std::to_array<CommandRow>({
    {"start", Command::kStart},
    {"stop", Command::kStop},
    {"upgrade", Command::kUpgrade},
    {"rollback", Command::kRollback},
    {"resume", Command::kResume},
    {"history", Command::kHistory},
    {"status", Command::kStatus},
    {"check", Command::kCheck},
});

bool IsUpgrade(Command command) {
  return command == Command::kUpgrade || command == Command::kRollback;
}

using Text = std::string;
using Texts = std::vector<std::string>;

void AddOptions(Command command, cxxopts::Options& options) {
  auto add = options.add_options();
  add("d,server-root", "", cxxopts::value<Text>());
  add("f,config", "", cxxopts::value<Text>());
  add("D,define", "", cxxopts::value<Texts>());
  add("binary", "", cxxopts::value<Text>());
  add("json", "");
  if (IsUpgrade(command) || command == Command::kStart) add("ready-timeout", "", cxxopts::value<Text>());
  if (IsUpgrade(command) || command == Command::kStop) {
    add("graceful-shutdown-timeout", "", cxxopts::value<Text>());
  }
  if (command == Command::kStop) add("graceful", "");
  if (command == Command::kRollback) add("to", "", cxxopts::value<Text>());
  if (IsUpgrade(command)) {
    add("probe", "", cxxopts::value<Texts>());
    add("bake", "", cxxopts::value<Text>());
    add("max-draining", "", cxxopts::value<Text>());
    add("detach", "");
    add("accept-shared", "", cxxopts::value<Texts>());
    add("no-live", "");
    add("report", "", cxxopts::value<Text>());
    add("no-report", "");
    add("dry-run", "");
    add("hook", "", cxxopts::value<Texts>());
    add("hook-timeout", "", cxxopts::value<Text>());
  }
}

/// The error of a value, with the option's name in front.
os::Error About(const std::string& option, const os::Error& error) {
  return Usage("--" + option + ": " + error.what);
}

os::Result<Options> Convert(Command command, const cxxopts::ParseResult& parsed) {
  Options out;
  out.command = command;
  const auto text = [&parsed](const std::string& name) {
    return parsed.count(name) ? parsed[name].as<Text>() : Text();
  };
  const auto flag = [&parsed](const std::string& name) { return parsed.count(name) > 0; };
  if (!parsed.unmatched().empty()) return Usage("\"" + parsed.unmatched().front() + "\" is not expected here");
  std::error_code failed;
  for (const char* name : {"server-root", "config", "binary"}) {
    if (flag(name) && text(name).empty()) return Usage("--" + std::string(name) + ": the value is empty");
  }
  if (flag("server-root")) out.server_root = std::filesystem::absolute(text("server-root"), failed).lexically_normal();
  out.config_file = text("config");
  if (flag("binary")) out.binary = std::filesystem::absolute(text("binary"), failed).lexically_normal();
  if (flag("define")) out.defines = parsed["define"].as<Texts>();
  out.json = flag("json");
  if (IsUpgrade(command) || command == Command::kStart) {
    if (flag("ready-timeout")) {
      auto value = ParseSeconds(text("ready-timeout"));
      if (!value) return About("ready-timeout", value.error());
      if (value.value().count() == 0) return Usage("--ready-timeout: nothing is ready in no time");
      out.ready_timeout = value.value();
    }
  }
  if (IsUpgrade(command) || command == Command::kStop) {
    if (flag("graceful-shutdown-timeout")) {
      auto value = ParseCount(text("graceful-shutdown-timeout"), 0, 86400 * 365);
      if (!value) return About("graceful-shutdown-timeout", value.error());
      out.graceful_shutdown_timeout = value.value();
    }
  }
  if (command == Command::kStop) {
    out.graceful = flag("graceful");
    if (out.graceful_shutdown_timeout && !out.graceful) return Usage("--graceful-shutdown-timeout needs --graceful");
  }
  if (IsUpgrade(command)) {
    if (flag("probe")) {
      for (const Text& one : parsed["probe"].as<Texts>()) {
        auto probe = ParseProbe(one);
        if (!probe) return Usage(probe.error().what);
        out.probes.push_back(probe.value());
      }
    }
    if (flag("bake")) {
      auto value = ParseSeconds(text("bake"));
      if (!value) return About("bake", value.error());
      out.bake = value.value();
    }
    if (flag("max-draining")) {
      auto value = ParseCount(text("max-draining"), 0, 1000);
      if (!value) return About("max-draining", value.error());
      out.max_draining = value.value();
    }
    out.detach = flag("detach");
    if (flag("accept-shared")) out.accept_shared = parsed["accept-shared"].as<Texts>();
    for (const Text& word : out.accept_shared) {
      if (word.empty() || word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != Text::npos) {
        return Usage("--accept-shared: \"" + word +
                     "\" is no name of a finding: orchestrator check tells them, or all");
      }
    }
    out.live = !flag("no-live");
    out.keep_report = !flag("no-report");
    if (flag("report")) {
      if (!out.keep_report) return Usage("--report and --no-report contradict each other");
      if (text("report").empty()) return Usage("--report: the value is empty");
      out.report = std::filesystem::absolute(text("report"), failed).lexically_normal();
    }
    out.dry_run = flag("dry-run");
    if (flag("hook")) {
      for (const Text& one : parsed["hook"].as<Texts>()) {
        auto hook = ParseHook(one);
        if (!hook) return Usage(hook.error().what);
        if (out.detach && hook.value().step == Step::kDone) {
          return Usage("--hook " + hook.value().Name() + ": with --detach nobody waits for that step");
        }
        out.hooks.push_back(std::move(hook).value());
      }
    }
    if (flag("hook-timeout")) {
      auto value = ParseSeconds(text("hook-timeout"));
      if (!value) return About("hook-timeout", value.error());
      if (value.value().count() == 0) return Usage("--hook-timeout: nothing is done in no time");
      out.hook_timeout = value.value();
    }
    if (command == Command::kRollback && flag("to")) {
      out.to = text("to");
      if (out.to.empty()) return Usage("--to: the value is empty");
    }
    if (out.probes.empty()) out.probes.push_back(DefaultProbe());
  }
  return out;
}

}  // namespace

os::Result<Options> ParseOptions(const std::vector<std::string>& arguments) {
  Options out;
  if (arguments.size() < 2) {
    return Usage("a command is missing: start, stop, upgrade, rollback, resume, history, status or check");
  }
  const std::string& first = arguments[1];
  if (first == "--help" || first == "-h") return out;
  if (first == "--version") {
    out.command = Command::kVersion;
    return out;
  }
  const auto row = std::find_if(kCommands.begin(), kCommands.end(), [&](const auto& r) { return r.name == first; });
  if (row == kCommands.end()) {
    const bool option = first.starts_with('-');
    return Usage("\"" + first + "\" is " + (option ? "given before the command" : "no command") +
                 ": start, stop, upgrade, rollback, resume, history, status or check comes first");
  }
  cxxopts::Options options("orchestrator");
  AddOptions(row->command, options);
  options.add_options()("help", "");
  std::vector<const char*> argv = {arguments[0].c_str()};
  for (size_t i = 2; i < arguments.size(); ++i) argv.push_back(arguments[i].c_str());
  try {
    const auto parsed = options.parse(static_cast<int>(argv.size()), argv.data());
    if (parsed.count("help") > 0) return out;
    return Convert(row->command, parsed);
  } catch (const cxxopts::exceptions::exception& failed) {
    return Usage(std::string(row->name) + ": " + failed.what());
  }
}

std::string HelpText() {
  return R"(usage: orchestrator COMMAND [-d ServerRoot] [-f httpd.conf] [-D NAME]... [--binary PATH] [--json] [option]...

start                             start the server unless it runs, and wait until it serves
  --ready-timeout S               at most this long (30)
stop                              end it at once, as SIGTERM does, and wait until it has gone
  --graceful                      let requests in progress finish
  --graceful-shutdown-timeout S   with --graceful: at most this long, 0 = no limit (GracefulShutdownTimeout)
upgrade                           replace the running instance by a new one while it serves
  --ready-timeout S               the new one has to be ready within S seconds (30)
  --probe PATH[=STATUS]           check it before and after the switch; may be repeated (GET / below 500)
  --bake S                        watch it for S seconds before the old one is told to leave; 0 = not at all (10)
  --graceful-shutdown-timeout S   what the old one still has to do is cut after S seconds, 0 = never
                                  (GracefulShutdownTimeout)
  --max-draining N                refuse to start while N older instances still drain (10)
  --detach                        return once the old instance has been told to leave
  --accept-shared WHAT            go on although both would share WHAT (a name that check tells, or all); repeatable
  --no-live                       plain lines on a terminal, too
  --report FILE                   write the report there (FILE.html, and FILE.json beside it) instead of into
                                  DefaultRuntimeDir/orchestrator/reports
  --no-report                     write none
  --dry-run                       print the plan and do nothing
  --hook [before-]STEP=COMMAND    run sh -c COMMAND after (before) a step; may be repeated. A failure before the old
                                  instance is told to leave takes the upgrade back
  --hook-timeout S                a hook that takes longer is killed and has failed (30)
rollback                          upgrade to the version that served before; options of upgrade, and
  --to ID|VERSION                 to that one of the kept versions
resume                            finish an upgrade whose orchestrator died, or take it back
history                           the last 100 upgrades: when, who, from, to, result, failures, durations
status                            instances of this configuration
check                             what two instances of this configuration would share, and what to do about it

  --binary PATH                   server to start or to ask (upgrade: the running one's path; otherwise the httpd
                                  beside this program)
  --json                          one JSON object per line on stdout

exit status: 0 done, 1 failed and nothing changed, 2 usage, 3 rolled back, 4 done but requests were cut at the
deadline, 75 another upgrade is running
)";
}

}  // namespace orchestrator
