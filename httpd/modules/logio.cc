// mod_logio: LogIOTrackTTFB. What %I, %O, %S and %^FB say is counted anyway. Source  httpd 2.4 manual, mod_logio
#include <optional>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/access_log.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

struct LogioSettings final : config::ModuleSettings {
  std::optional<bool> track_first_byte;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<LogioSettings>(static_cast<const LogioSettings&>(other));
    if (!out->track_first_byte) out->track_first_byte = track_first_byte;
    return out;
  }
};

config::Complaint LogIOTrackTTFB(config::Builder&, config::Scope& scope, const config::Node&,
                                 const std::vector<std::string>& words) {
  config::SettingsOf<LogioSettings>(scope).track_first_byte = config::SameIgnoringCase(words[0], "on");
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  static const std::vector<config::Directive> table = {
      {"LogIOTrackTTFB", "mod_logio.c", config::kAnywhere | config::kOverrideAny, config::Arity::kFlag,
       "Set to 'ON' to enable tracking time to first byte", config::OnRead::kNo, LogIOTrackTTFB, "On|Off", "Off",
       "On: %^FB in a log is the time in microseconds from the arrival of a request until the head of its answer was "
       "written. Off: it is '-'."},
  };
  return table;
}

}  // namespace

bool TracksFirstByte(const RequestState& state) {
  const auto* settings = state.settings->modules.Find<LogioSettings>();
  return settings && settings->track_first_byte.value_or(false);
}

const Module kLogio = {.name = {"mod_logio.c", "logio_module"}, .directives = Directives};

}  // namespace httpd::modules
