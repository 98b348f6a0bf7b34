#include "orchestrator/plan.h"

#include <algorithm>
#include <charconv>

namespace orchestrator {

namespace {

struct StepText {
  Step step;
  std::string_view name;
};
constexpr std::array kStepTexts = std::to_array<StepText>({
    {Step::kPlanned, "planned"},
    {Step::kLaunched, "launched"},
    {Step::kReady, "ready"},
    {Step::kProbed, "probed"},
    {Step::kSwitched, "switched"},
    {Step::kBaked, "baked"},
    {Step::kDraining, "draining"},
    {Step::kDone, "done"},
});

os::Error Invalid(std::string what) {
  return os::Error{os::ErrorKind::kInvalid, 0, std::move(what)};
}

std::string Quoted(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

template <class T>
bool WholeNumber(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty() && text[0] != '-';
}

}  // namespace

std::string_view StepName(Step step) {
  for (const StepText& row : kStepTexts) {
    if (row.step == step) return row.name;
  }
  return "?";
}

std::string_view EventName(Event event) {
  switch (event) {
    case Event::kSucceeded:
      return "succeeded";
    case Event::kRefused:
      return "refused";
    case Event::kFailed:
      return "failed";
    case Event::kInterrupted:
      return "interrupted";
    case Event::kOldEnded:
      return "old ended";
  }
  return "?";
}

std::optional<Step> ParseStep(std::string_view name) {
  for (const StepText& row : kStepTexts) {
    if (row.name == name) return row.step;
  }
  return std::nullopt;
}

std::vector<Undo> UndoOf(Step at) {
  std::vector<Undo> out;
  for (const UndoRow& row : kUndoRows) {
    if (row.at == at) out.push_back(row.undo);
  }
  return out;
}

std::string_view ConditionText(Condition found) {
  switch (found) {
    case Condition::kGone:
      return "has ended";
    case Condition::kStandby:
      return "is in standby";
    case Condition::kAble:
      return "is alive";
    case Condition::kLeaving:
      return "is leaving";
    case Condition::kMute:
      return "does not answer";
    case Condition::kReplaced:
      return "has been replaced by another one";
  }
  return "?";
}

os::Result<Probe> ParseProbe(std::string_view text) {
  Probe probe;
  const size_t equals = text.rfind('=');
  if (equals != std::string_view::npos && text.size() - equals == 4) {
    int status = 0;
    if (WholeNumber(text.substr(equals + 1), status)) {
      if (status < 100 || status > 599) {
        return Invalid("--probe " + Quoted(text) + ": a status is a number from 100 to 599");
      }
      probe.lowest = probe.highest = status;
      text = text.substr(0, equals);
    }
  }
  if (text.empty() || text[0] != '/') {
    return Invalid("--probe " + Quoted(text) + ": a path to ask for starts with \"/\"");
  }
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c <= ' ' || c == 127; })) {
    return Invalid("--probe " + Quoted(text) + ": spaces and control characters have to be written as %XX");
  }
  probe.path = text;
  return probe;
}

Probe DefaultProbe() {
  return Probe{"/", 100, 499};
}

std::string ProbeRange(const Probe& probe) {
  if (probe.lowest == probe.highest) return std::to_string(probe.lowest);
  return std::to_string(probe.lowest) + " to " + std::to_string(probe.highest);
}

os::Result<std::chrono::milliseconds> ParseSeconds(std::string_view text) {
  const os::Error wrong = Invalid(Quoted(text) + " is not a number of seconds from 0 to 86400");
  const size_t dot = text.find('.');
  int64_t seconds = 0;
  if (!WholeNumber(text.substr(0, dot), seconds) || seconds > 86400) return wrong;
  int64_t millis = 0;
  if (dot != std::string_view::npos) {
    std::string decimals(text.substr(dot + 1));
    if (decimals.empty() || decimals.size() > 3) return wrong;
    decimals.resize(3, '0');
    if (!WholeNumber(decimals, millis)) return wrong;
  }
  return std::chrono::milliseconds(seconds * 1000 + millis);
}

os::Result<int> ParseCount(std::string_view text, int low, int high) {
  int number = 0;
  if (!WholeNumber(text, number) || number < low || number > high) {
    return Invalid(Quoted(text) + " is not a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return number;
}

std::string CountOf(int64_t number, std::string_view thing) {
  return std::to_string(number) + " " + std::string(thing) + (number == 1 ? "" : "s");
}

ListenerDiff CompareListeners(std::span<const std::string> old_ones, std::span<const std::string> wanted) {
  ListenerDiff diff;
  const auto in = [](std::span<const std::string> list, const std::string& address) {
    return std::find(list.begin(), list.end(), address) != list.end();
  };
  for (const std::string& address : wanted) (in(old_ones, address) ? diff.keep : diff.add).push_back(address);
  for (const std::string& address : old_ones) {
    if (!in(wanted, address)) diff.remove.push_back(address);
  }
  return diff;
}

std::string ListenerDiff::Text() const {
  std::string out = "keep " + CountOf(static_cast<int64_t>(keep.size()), "listener");
  for (const std::string& address : add) out += ", add " + address;
  for (const std::string& address : remove) out += ", remove " + address;
  return out;
}

std::vector<std::string> KeptArguments(std::span<const std::string> arguments) {
  constexpr std::string_view kWithValue = "DCcdfeEk";
  constexpr std::string_view kDropped = "dfkEX";
  std::vector<std::string> out;
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument.size() < 2 || argument[0] != '-' || argument[1] == '-') {
      if (argument != "--standby" && argument != "--wait") out.push_back(argument);
      continue;
    }
    const char letter = argument[1];
    std::optional<std::string> value;
    if (kWithValue.find(letter) != std::string_view::npos) {
      if (argument.size() > 2) {
        value = argument.substr(2);
      } else if (i + 1 < arguments.size()) {
        value = arguments[++i];
      }
    }
    if (kDropped.find(letter) != std::string_view::npos) continue;
    if (letter == 'D' && (value == "FOREGROUND" || value == "NO_DETACH")) continue;
    if (value) {
      out.push_back(std::string("-") + letter);
      out.push_back(*value);
    } else {
      out.push_back(argument);
    }
  }
  return out;
}

std::vector<std::string> WithoutDirectives(std::span<const std::string> arguments) {
  std::vector<std::string> out;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "-C" || arguments[i] == "-c") {
      ++i;
    } else {
      out.push_back(arguments[i]);
    }
  }
  return out;
}

std::vector<std::string> SplitNul(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t end = text.find('\0');
    out.emplace_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return out;
}

std::vector<std::string> CleanEnvironment(std::vector<std::string> environment) {
  constexpr std::string_view kOwn = "NOTIFY_SOCKET=";
  constexpr std::string_view kManager = "BATON_NOTIFY_SOCKET=";
  std::string own;
  std::optional<std::string> manager;  // an empty one counts: that instance's own socket was its orchestrator's
  for (const std::string& line : environment) {
    if (line.starts_with(kOwn)) own = line.substr(kOwn.size());
    if (line.starts_with(kManager)) manager = line.substr(kManager.size());
  }
  std::erase_if(environment, [&](const std::string& line) {
    return line.starts_with("LISTEN_") || line.starts_with("WATCHDOG_") || line.starts_with(kOwn) ||
           line.starts_with(kManager) || line.starts_with("MAINPID=") || line.find('=') == std::string::npos;
  });
  environment.push_back(std::string(kManager) + manager.value_or(own));
  return environment;
}

bool IsErrorRateWorse(const Traffic& before, const Traffic& now) {
  if (now.errors < 3 || now.requests <= 0) return false;
  const double old_rate =
      before.requests > 0 ? static_cast<double>(before.errors) / static_cast<double>(before.requests) : 0.0;
  return static_cast<double>(now.errors) / static_cast<double>(now.requests) > 2 * old_rate + 0.005;
}

bool QueueTrend::Add(uint32_t depth) {
  run_ = depth > baseline_ && depth >= last_ ? run_ + 1 : 0;
  last_ = depth;
  return run_ >= kSamples;
}

std::string FormatHolder(const Holder& holder) {
  return "pid=" + std::to_string(holder.pid) + "\nstart_time=" + std::to_string(holder.start_time) +
         "\nuser=" + holder.user + "\ncommand=" + holder.command + "\nsince=" + std::to_string(holder.since) +
         "\nstep=" + holder.step + "\n";
}

Holder ParseHolder(std::string_view text) {
  Holder holder;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = line.substr(0, equals);
    const std::string_view value = line.substr(equals + 1);
    if (key == "pid") WholeNumber(value, holder.pid);
    if (key == "start_time") WholeNumber(value, holder.start_time);
    if (key == "user") holder.user = value;
    if (key == "command") holder.command = value;
    if (key == "since") WholeNumber(value, holder.since);
    if (key == "step") holder.step = value;
  }
  return holder;
}

}  // namespace orchestrator
