// mod_cgi and mod_cgid: handler cgi-script. Source  httpd 2.4 manual, mod_cgi, mod_cgid; RFC 3875
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/cgi_environment.h"
#include "httpd/modules/cgi_head.h"
#include "httpd/modules/cgi_program.h"
#include "httpd/modules/core_settings.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::LogLevel;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

struct CgiSettings final : config::ModuleSettings {
  std::optional<bool> pass_authorization;
  std::optional<bool> current_uri;
  std::optional<int> timeout_ms;
  std::vector<std::pair<int, rlimit>> limits;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const CgiSettings&>(other);
    auto out = std::make_unique<CgiSettings>(*this);
    if (inner.pass_authorization) out->pass_authorization = inner.pass_authorization;
    if (inner.current_uri) out->current_uri = inner.current_uri;
    if (inner.timeout_ms) out->timeout_ms = inner.timeout_ms;
    for (const auto& [which, limit] : inner.limits) out->SetLimit(which, limit);
    return out;
  }
  void SetLimit(int which, const rlimit& limit) {
    std::erase_if(limits, [which](const auto& entry) { return entry.first == which; });
    limits.emplace_back(which, limit);
  }
};

// ---------------------------------------------------------------------------------------------------- directives

Complaint CgiPassAuth(config::Builder&, Scope& scope, const Node&, const Words& words) {
  config::SettingsOf<CgiSettings>(scope).pass_authorization = http::EqualsIgnoreCase(words[0], "on");
  return std::nullopt;
}

Complaint CgiVar(config::Builder&, Scope& scope, const Node&, const Words& words) {
  if (words[0] != "REQUEST_URI") return "Invalid CGI variable name '" + words[0] + "'";
  const bool current = http::EqualsIgnoreCase(words[1], "current-uri");
  if (!current && !http::EqualsIgnoreCase(words[1], "original-uri"))
    return "Invalid CGI variable rule value '" + words[1] + "'";
  config::SettingsOf<CgiSettings>(scope).current_uri = current;
  return std::nullopt;
}

Complaint ScriptTimeout(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  std::string_view text = words[0];
  int factor = 1000;
  if (text.ends_with("ms")) {
    factor = 1;
    text.remove_suffix(2);
  } else if (text.ends_with("min")) {
    factor = 60'000;
    text.remove_suffix(3);
  } else if (text.ends_with("s")) {
    text.remove_suffix(1);
  }
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0 || number > 2'000'000'000 / factor) {
    return node.name + " has wrong format";
  }
  config::SettingsOf<CgiSettings>(scope).timeout_ms = number * factor;
  return std::nullopt;
}

Complaint RLimit(config::Builder&, Scope& scope, const Node& node, const Words& words, int which) {
  rlimit limit{};
  ::getrlimit(static_cast<__rlimit_resource>(which), &limit);
  auto parse = [](const std::string& word, rlim_t most, rlim_t& out) {
    if (http::EqualsIgnoreCase(word, "max")) {
      out = most;
      return true;
    }
    unsigned long long number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    out = number;
    return error == std::errc() && end == word.data() + word.size();
  };
  const rlim_t most = limit.rlim_max;
  if (!parse(words[0], most, limit.rlim_cur)) return "Invalid parameters for " + node.name;
  if (words.size() > 1 && !parse(words[1], most, limit.rlim_max)) return "Invalid parameters for " + node.name;
  limit.rlim_max = std::min(limit.rlim_max, most);
  limit.rlim_cur = std::min(limit.rlim_cur, limit.rlim_max);
  config::SettingsOf<CgiSettings>(scope).SetLimit(which, limit);
  return std::nullopt;
}

Complaint RLimitCpu(config::Builder& builder, Scope& scope, const Node& node, const Words& words) {
  return RLimit(builder, scope, node, words, RLIMIT_CPU);
}
Complaint RLimitMem(config::Builder& builder, Scope& scope, const Node& node, const Words& words) {
  return RLimit(builder, scope, node, words, RLIMIT_AS);
}
Complaint RLimitNproc(config::Builder& builder, Scope& scope, const Node& node, const Words& words) {
  return RLimit(builder, scope, node, words, RLIMIT_NPROC);
}

Complaint ScriptSock(config::Builder& builder, Scope&, const Node& node, const Words&) {
  builder.Warn(node, "ScriptSock has no effect: programs are started without a daemon");
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  constexpr unsigned kAnywhere = config::kAnywhere;
  static const std::vector<config::Directive> table = {
      {"CGIPassAuth", "core.c", config::kInSection | config::kOverrideAuthConfig, Arity::kFlag,
       "Controls whether HTTP authorization headers, normally hidden, will be passed to scripts", OnRead::kNo,
       CgiPassAuth, "On|Off", "Off", "With On the program gets the Authorization field as HTTP_AUTHORIZATION."},
      {"CGIVar", "core.c", config::kInSection | config::kOverrideFileInfo, Arity::kTwo,
       "Controls how some CGI variables are set", OnRead::kNo, CgiVar, "REQUEST_URI original-uri|current-uri",
       "REQUEST_URI original-uri",
       "Whether REQUEST_URI is what the client asked for or what an internal redirect led to."},
      {"CGIScriptTimeout", "mod_cgi.c", kAnywhere, Arity::kOne, "The amount of time to wait between successful reads",
       OnRead::kNo, ScriptTimeout, "time[s|ms|min]", "value of Timeout",
       "Longest silence of a program, in either direction. Before its head is complete that is an answer 504, later "
       "the "
       "connection is closed. The program gets TERM, three seconds later KILL."},
      {"RLimitCPU", "core.c", kAnywhere | config::kOverrideAny, Arity::kOneOrTwo,
       "Soft/hard limits for max CPU usage in seconds", OnRead::kNo, RLimitCpu, "seconds|max [seconds|max]", "",
       "Processor time of each program. The hard limit cannot be above the server's own."},
      {"RLimitMEM", "core.c", kAnywhere | config::kOverrideAny, Arity::kOneOrTwo,
       "Soft/hard limits for max memory usage per process", OnRead::kNo, RLimitMem, "bytes|max [bytes|max]", "",
       "Address space of each program. The hard limit cannot be above the server's own."},
      {"RLimitNPROC", "core.c", kAnywhere | config::kOverrideAny, Arity::kOneOrTwo,
       "soft/hard limits for max number of processes per uid", OnRead::kNo, RLimitNproc, "number|max [number|max]", "",
       "Processes of the user that programs run as; it counts the server's own children, too."},
  };
  return table;
}

const std::vector<config::Directive>& DaemonDirectives() {
  using config::Arity;
  using config::OnRead;
  constexpr unsigned kAnywhere = config::kAnywhere;
  static const std::vector<config::Directive> table = {
      {"CGIDScriptTimeout", "mod_cgid.c", kAnywhere, Arity::kOne, "The amount of time to wait between successful reads",
       OnRead::kNo, ScriptTimeout, "time[s|ms|min]", "value of Timeout", "The same as CGIScriptTimeout."},
      {"ScriptSock", "mod_cgid.c", config::kInServer, Arity::kOne,
       "the name of the socket to use for communication with the cgi daemon.", OnRead::kNo, ScriptSock, "file-path", "",
       "Accepted with a notice: there is no daemon that could have a socket."},
  };
  return table;
}

// ---------------------------------------------------------------------------------------------------- a request

/// A program's body. What it writes is the body until its output ends.
class CgiSource final : public net::BodySource {
 public:
  CgiSource(std::shared_ptr<CgiProgram> program, std::string begun, bool is_head)
      : program_(std::move(program)), begun_(std::move(begun)), is_head_(is_head) {}
  ~CgiSource() override {
    if (is_head_) {
      program_->ReadPast();  // it does its work whether somebody reads or not
    } else if (ended_) {
      program_->Finish();
    } else {
      program_->Abort();
    }
  }
  CgiSource(const CgiSource&) = delete;
  CgiSource& operator=(const CgiSource&) = delete;

  State Read(std::string& out, size_t most) override {
    if (!begun_.empty()) {
      out += begun_;
      begun_.clear();
      return State::kMore;
    }
    const State state = program_->Read(out, most);
    ended_ = state == State::kEnd;
    return state;
  }

 private:
  std::shared_ptr<CgiProgram> program_;
  std::string begun_;
  bool is_head_;
  bool ended_ = false;
};

class CgiSink final : public net::BodySink {
 public:
  explicit CgiSink(std::shared_ptr<CgiProgram> program) : program_(std::move(program)) {}
  ~CgiSink() override { program_->EndInput(); }
  CgiSink(const CgiSink&) = delete;
  CgiSink& operator=(const CgiSink&) = delete;
  State Write(std::string_view data) override {
    if (!program_->Write(data)) return State::kEnough;
    return WantsMore() ? State::kMore : State::kWait;
  }
  bool WantsMore() const override { return program_->HasRoom(); }
  void End() override { program_->EndInput(); }

 private:
  std::shared_ptr<CgiProgram> program_;
};

std::string BaseName(const std::string& file) {
  return file.substr(file.rfind('/') + 1);
}

/// The program runs; its head is not complete.
class CgiAnswer final : public DeferredAnswer {
 public:
  CgiAnswer(std::shared_ptr<CgiProgram> program, std::string script)
      : program_(std::move(program)), script_(std::move(script)) {}
  ~CgiAnswer() override {
    if (program_) program_->Abort();
  }
  CgiAnswer(const CgiAnswer&) = delete;
  CgiAnswer& operator=(const CgiAnswer&) = delete;

  std::optional<Verdict> Resume(RequestState& state, bool is_late) override {
    auto log = [&state](std::string text) { state.engine->LogError(state, LogLevel::kError, "cgi", std::move(text)); };
    if (is_late) {
      log("AH01220: Timeout waiting for output from CGI script " + state.file);
      return Fail(state, 504);
    }
    while (true) {
      ScriptHead head;
      const ScriptHeadResult result = ParseScriptHead(output_, script_, script_.starts_with("nph-"), head);
      if (result.state == ScriptHeadResult::State::kComplete) return Answer(state, std::move(head), result.consumed);
      if (result.state == ScriptHeadResult::State::kBad) {
        log(result.trouble);
        return Fail(state, 500);
      }
      switch (program_->Read(output_, 8192)) {
        case net::BodySource::State::kMore:
          break;
        case net::BodySource::State::kWait:
          return std::nullopt;
        default:
          log((output_.empty() ? "End of script output before headers: " : "Premature end of script headers: ") +
              script_);
          return Fail(state, 500);
      }
    }
  }

 private:
  Verdict Fail(RequestState& state, int status) {
    std::exchange(program_, nullptr)->Abort();
    state.response->sink.reset();
    return Verdict::Status(status);
  }

  Verdict Answer(RequestState& state, ScriptHead head, size_t consumed) {
    net::Response& response = *state.response;
    const std::shared_ptr<CgiProgram> program = std::exchange(program_, nullptr);
    if (head.close) response.close = true;
    if (head.status == 0 && head.location.starts_with("/")) {  // a local redirect: the body is not wanted
      program->Finish();
      const size_t question = head.location.find('?');
      auto decoded = http::DecodePath(head.location.substr(0, question));
      if (!decoded) return Verdict::Status(500);
      if (state.original_path.empty()) state.original_path = state.path;
      state.notes[kBodyGoneNote] = "1";
      state.path = std::move(decoded).value();
      state.has_query = question != std::string::npos;
      state.query = state.has_query ? head.location.substr(question + 1) : "";
      return Verdict::Restart();
    }
    response.fields += head.fields;
    if (head.status == 0 && !head.location.empty()) {
      program->Finish();
      return Verdict::Status(302);
    }
    if (head.status != 0) response.status = head.status;
    state.media_type = head.type;
    state.is_success = true;
    response.body.clear();
    if (response.status == 204 || response.status == 304) {
      response.without_body = response.without_length = true;
      program->ReadPast();
      return Verdict::Done();
    }
    const bool is_head = state.head().method == http::Method::kHead;
    response.source = std::make_unique<CgiSource>(program, output_.substr(consumed), is_head);
    return Verdict::Done();
  }

  std::shared_ptr<CgiProgram> program_;
  std::string script_;
  std::string output_;
};

Verdict Refuse(RequestState& state, int status, const std::string& text) {
  state.engine->LogError(state, LogLevel::kError, "cgi", text);
  return Verdict::Status(status);
}

Verdict Handle(RequestState& state) {
  if (state.handler != "cgi-script" && state.handler != "application/x-httpd-cgi") return Verdict::Declined();
  const auto forced = state.notes.find("alias-forced-type");
  const bool is_aliased = forced != state.notes.end() && forced->second == "cgi-script";
  if ((state.settings->options & config::kOptExecCgi) == 0 && !is_aliased) {
    return Refuse(state, 403, "AH02809: stderr from " + state.file + ": Options ExecCGI is off in this directory");
  }
  if (!state.exists()) {
    return Refuse(state, 404, "AH02811: stderr from " + state.file + ": script not found or unable to stat");
  }
  if (S_ISDIR(state.info.st_mode)) {
    return Refuse(state, 403, "AH02812: stderr from " + state.file + ": attempt to invoke directory as script");
  }
  const http::RequestHead& head = state.head();
  const uint64_t limit = state.response->body_limit.value_or(kDefaultBodyLimit);
  if (!IsBodyGone(state) && limit != 0 && head.content_length && *head.content_length > limit) {
    return Refuse(state, 413,
                  "AH01587: Requested content-length of " + std::to_string(*head.content_length) +
                      " is larger than the configured limit of " + std::to_string(limit));
  }
  net::Reactor* reactor = state.request->reactor;
  if (!reactor) return Verdict::Status(500);

  const auto* settings = SettingsFor<CgiSettings>(state);
  std::string translated;
  if (!state.path_info.empty() && state.path_info.find('?') == std::string::npos) {  // '?' would begin a query
    const auto found = state.engine->LookUp(state, state.path_info);
    if (!found->file.empty()) translated = found->file + found->path_info;
  }
  os::SpawnOptions options;
  options.program = state.file;
  options.arguments = CgiArguments(state);
  options.arguments.insert(options.arguments.begin(), state.file);
  options.environment = CgiEnvironment(state, settings && settings->pass_authorization.value_or(false),
                                       settings && settings->current_uri.value_or(false), translated);
  options.directory = state.file.substr(0, state.file.rfind('/'));
  if (settings) options.limits = settings->limits;

  const log::ErrorLog* error_log = state.host->error_log.get();
  const std::string client = std::string(state.client_address()) + ":" + std::to_string(state.request->client_port);
  auto on_stderr = [error_log, client, prefix = "AH01215: stderr from " + state.file + ": "](std::string_view line) {
    error_log->Write(LogLevel::kError, "cgi", prefix + std::string(line), client);
  };
  auto started = CgiProgram::Start(*reactor, std::move(options), reactor->WakerOf(*state.request), on_stderr);
  if (!started) {
    const os::Error& error = started.error();
    state.engine->LogError(state, LogLevel::kError, "cgi",
                           "AH01223: couldn't create child process: " + std::to_string(error.sys) + ": " + state.file +
                               ": " + error.Text());
    return Verdict::Status(error.kind == os::ErrorKind::kBusy || error.sys == EMFILE || error.sys == ENFILE ? 503
                                                                                                            : 500);
  }
  if (settings && settings->timeout_ms) state.response->wait_timeout_ms = *settings->timeout_ms;
  if (!IsBodyGone(state)) {
    state.response->sink = std::make_unique<CgiSink>(started.value());
  } else {
    started.value()->EndInput();  // the body was for whoever was asked first
  }
  state.response->deferred = std::make_unique<CgiAnswer>(started.value(), BaseName(state.file));
  return Verdict::Done();
}

bool Never(const config::ModuleSlots&) {
  return false;
}

}  // namespace

const Module kCgid = {.name = {"mod_cgid.c", "cgid_module"}, .directives = DaemonDirectives, .applies = Never};

const Module kCgi = {.name = {"mod_cgi.c", "cgi_module"},
                     .directives = Directives,
                     .always = true,
                     .handle = Handle,
                     .repeats = DependsOnNothing};

}  // namespace httpd::modules
