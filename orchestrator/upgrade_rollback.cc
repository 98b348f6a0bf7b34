#include <Poco/JSON/Array.h>

#include "orchestrator/upgrade_run.h"

namespace orchestrator {

namespace {

std::string ShortBuild(const std::string& build_id) {
  return build_id.empty() ? "no build id" : "build " + build_id.substr(0, 12);
}

Poco::JSON::Array Texts(const std::vector<std::string>& texts) {
  Poco::JSON::Array out;
  for (const std::string& text : texts) out.add(text);
  return out;
}

}  // namespace

// ---- which version was before --------------------------------------------------------------------------------------

/// What --to says; otherwise the last version of the history that served and is not the one that serves now.
os::Result<Version> Upgrade::PreviousVersion() const {
  const auto none = [](std::string why) { return os::Error{os::ErrorKind::kNotFound, 0, std::move(why)}; };
  auto now = DescribeVersion(config_.runtime_dir, old_, clock_);
  if (!now) return now.error();
  if (!options_.to.empty()) {
    auto wanted = FindVersion(config_.runtime_dir, options_.to);
    if (wanted && wanted.value().id == now.value().id) {
      return none("--to: " + options_.to + " (" + wanted.value().id + ") is what runs already");
    }
    return wanted;
  }
  auto journal = Journal::Open(config_.runtime_dir / "orchestrator", Journal::Mode::kExisting, clock_);
  if (!journal) {
    if (journal.error().kind != os::ErrorKind::kNotFound) return journal.error();
    return none("there is no version to go back to: no upgrade was made here yet");
  }
  auto history = journal.value().History();
  if (!history) return history.error();
  for (const UpgradeRecord& record : history.value()) {
    const bool well = record.ended && (record.exit_status == kExitDone || record.exit_status == kExitCut);
    const bool back = record.ended && record.exit_status == kExitRolledBack;
    for (const Party* party : {&record.intent.to, &record.intent.from}) {
      if (!well && !(back && party == &record.intent.from)) continue;
      if (party->kept.empty() || party->kept == now.value().id) continue;
      auto kept = FindVersion(config_.runtime_dir, party->kept);
      if (kept) return kept;
      return none("the version before, " + party->version + " (" + party->kept +
                  "), is not kept any more; --to says another one: " + kept.error().what);
    }
  }
  return none("there is no version to go back to: the history has no other one than " + now.value().version + " (" +
              now.value().id + ") that ended well");
}

Outcome Upgrade::FindPrevious() {
  auto target = PreviousVersion();
  if (!target) return {Event::kRefused, target.error().Text()};
  target_ = std::move(target).value();
  auto program = ProgramOfVersion(*target_, context_.environment);
  if (!program) return {Event::kRefused, program.error().Text()};
  program_ = std::move(program).value();
  program_.directory = context_.directory;
  if (program_.binary == target_->binary) {
    report_.Note(target_->original_binary.string() + " is another one now: the kept copy " + program_.binary.string() +
                 " is started");
  }
  if (program_.config_file == target_->config) {
    report_.Note(target_->original_config + " says something else now: the kept copy " + program_.config_file +
                 " is used");
  }
  auto config = httpd::AskConfig(program_);
  if (!config) return {Event::kRefused, "the configuration is not usable: " + config.error().Text()};
  if (config.value().runtime_dir != config_.runtime_dir) {
    return {Event::kRefused, "version " + target_->id + " has another runtime directory (" +
                                 config.value().runtime_dir.string() + "): it cannot take over from this one"};
  }
  config_ = std::move(config).value();
  return {};
}

// ---- --dry-run -----------------------------------------------------------------------------------------------------

int Upgrade::TellPlan() {
  const auto build_of = [](const std::filesystem::path& binary) {
    auto id = BuildIdOf(binary);
    return id ? id.value() : std::string();
  };
  const std::string old_build = build_of("/proc/" + std::to_string(old_.id.pid) + "/exe");
  const std::string new_build = build_of(program_.binary);
  const int timeout = options_.graceful_shutdown_timeout.value_or(config_.graceful_shutdown_timeout);
  const int64_t to_keep = BytesToKeep(config_.runtime_dir, old_.id.pid);
  const auto line = [](std::string_view name, const std::string& text) {
    std::string out(name);
    out.resize(15, ' ');
    return out + text + "\n";
  };
  std::string arguments;
  for (const std::string& argument : program_.arguments) arguments += " " + argument;
  std::string text =
      line("old", "process " + std::to_string(old_.id.pid) + ", " + context_.binary.string() + ", version " +
                      old_.hello.version + ", " + ShortBuild(old_build)) +
      line("new", program_.binary.string() + ", version " + config_.version + ", " + ShortBuild(new_build)) +
      line("configuration", config_.config_file + (arguments.empty() ? "" : ", with" + arguments));
  for (const std::string& address : listener_diff_.keep) text += line("listener", address + "  keep");
  for (const std::string& address : listener_diff_.add) text += line("listener", address + "  add");
  for (const std::string& address : listener_diff_.remove) text += line("listener", address + "  remove");
  text += line("files", config_.pid_file.string() + ", " + (config_.runtime_dir / "orchestrator").string()) +
          line("way back", to_keep == 0 ? "what runs is kept already"
                                        : std::to_string((to_keep + (1 << 20) - 1) >> 20) + " MiB are copied to " +
                                              (config_.runtime_dir / "orchestrator" / "versions").string());
  for (const httpd::LogLine& log : config_.logs) text += line("log", log.kind + " " + log.text);
  text += line("user", context_.uid ? "started as uid " + std::to_string(*context_.uid) : "started as this user");
  Poco::JSON::Array probes;
  for (const Probe& probe : options_.probes) {
    text += line("probe", "GET " + probe.path + " answers " + ProbeRange(probe));
    probes.add(probe.path + "=" + ProbeRange(probe));
  }
  Poco::JSON::Array steps;
  Poco::JSON::Array hooks;
  for (const Step step : kSteps) {
    const auto tell_hooks = [&](Hook::When when) {
      for (const Hook& hook : options_.hooks) {
        if (hook.step != step || hook.when != when) continue;
        text += line("hook", hook.Name() + ": " + hook.command + " (at most " + Seconds(options_.hook_timeout) + ")");
        auto entry = Ordered();
        entry.set("hook", hook.Name());
        entry.set("command", hook.command);
        hooks.add(entry);
      }
    };
    tell_hooks(Hook::When::kBefore);
    std::string limit;
    if (step == Step::kReady) limit = "  within " + Seconds(options_.ready_timeout);
    if (step == Step::kBaked) limit = "  after " + Seconds(options_.bake);
    if (step == Step::kDraining) limit = "  the commit point";
    if (step == Step::kDone) {
      limit = options_.detach ? "  not waited for"
              : timeout == 0  ? "  no time limit"
                              : "  after at most " + Seconds(std::chrono::seconds(timeout));
    }
    text += line("step", std::string(StepName(step)) + limit);
    steps.add(std::string(StepName(step)));
    tell_hooks(Hook::When::kAfter);
  }
  text.pop_back();

  const auto party = [](const std::string& binary, const std::string& version, const std::string& build) {
    auto out = Ordered();
    out.set("binary", binary);
    out.set("version", version);
    out.set("build_id", build);
    return out;
  };
  auto old_json = party(context_.binary, old_.hello.version, old_build);
  old_json.set("pid", old_.id.pid);
  auto new_json = party(program_.binary, config_.version, new_build);
  new_json.set("config_file", config_.config_file);
  new_json.set("arguments", Texts(program_.arguments));
  auto listeners = Ordered();
  listeners.set("keep", Texts(listener_diff_.keep));
  listeners.set("add", Texts(listener_diff_.add));
  listeners.set("remove", Texts(listener_diff_.remove));
  auto more = Ordered();
  more.set("command", CommandName());
  more.set("old", old_json);
  more.set("new", new_json);
  more.set("listeners", listeners);
  more.set("pid_file", config_.pid_file.string());
  more.set("runtime_dir", config_.runtime_dir.string());
  more.set("bytes_to_keep", to_keep);
  more.set("ready_timeout_ms", static_cast<int64_t>(options_.ready_timeout.count()));
  more.set("bake_ms", static_cast<int64_t>(options_.bake.count()));
  more.set("graceful_shutdown_timeout", timeout);
  more.set("probes", probes);
  more.set("hooks", hooks);
  more.set("steps", steps);
  report_.Event("plan", text, more);
  report_.Result("done", kExitDone, "nothing was changed (--dry-run)");
  return kExitDone;
}

}  // namespace orchestrator
