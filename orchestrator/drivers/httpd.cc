#include "orchestrator/drivers/httpd.h"

#include <Poco/Exception.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/StreamSocket.h>
#include <Poco/Net/StreamSocketImpl.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <istream>
#include <limits>

#include "handover/instance_files.h"
#include "handover/message.h"
#include "orchestrator/run_program.h"
#include "os/file.h"
#include "os/pid_file.h"
#include "os/socket.h"

namespace orchestrator::httpd {

namespace {

using handover::Message;
using os::Error;
using os::ErrorKind;

constexpr int kAnswerMs = 10000;

os::SpawnOptions Run(const Program& program, const std::vector<std::string>& more) {
  os::SpawnOptions options;
  options.program = program.binary;
  options.arguments = CommandLine(program, more);
  options.environment = program.environment;
  options.directory = program.directory;
  return options;
}

/// Runs a check of the binary; its words when it says no.
os::Result<Output> Checked(const Program& program, const char* flag, std::chrono::seconds limit) {
  auto output = RunProgram(Run(program, {flag}), limit);
  if (!output) return output.error();
  if (output.value().exit.signaled || output.value().exit.code != 0) {
    std::string why = FirstSentence(output.value().err);
    if (why.empty()) why = program.binary.string() + " " + flag + " " + output.value().exit.Text();
    return Error{ErrorKind::kInvalid, 0, std::move(why)};
  }
  return output;
}

Place PlaceOf(const Poco::JSON::Object& entry) {
  return {entry.optValue<std::string>("file", ""), entry.optValue<int>("line", 0)};
}

State ParseState(std::string_view text) {
  for (const State state : {State::kStandby, State::kServing, State::kPaused, State::kDraining}) {
    if (StateName(state) == text) return state;
  }
  return State::kUnknown;
}

/// Whether the instance `pid` lives by its own lock file. A socket that refuses is not enough: an instance that is
/// about to listen refuses too, and the number may belong to a stranger by now.
bool HoldsLock(const std::filesystem::path& runtime_dir, pid_t pid) {
  auto file = os::Open(handover::LockPath(runtime_dir, pid), O_RDONLY);
  return file && ::flock(file.value().get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

std::string Text(const Message& message, std::string_view key) {
  return std::string(message.Get(key).value_or(""));
}

}  // namespace

std::vector<std::string> CommandLine(const Program& program, const std::vector<std::string>& more) {
  std::vector<std::string> out = {program.binary.string()};
  if (!program.server_root.empty()) out.insert(out.end(), {"-d", program.server_root});
  if (!program.config_file.empty()) out.insert(out.end(), {"-f", program.config_file});
  out.insert(out.end(), program.arguments.begin(), program.arguments.end());
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

os::Result<RunConfig> ParseRunConfig(std::string_view json) {
  const auto wrong = [](std::string what) {
    return Error{ErrorKind::kInvalid, 0, "the server's --run-config output " + std::move(what)};
  };
  RunConfig config;
  try {
    Poco::JSON::Parser parser;
    const auto root = parser.parse(std::string(json)).extract<Poco::JSON::Object::Ptr>();
    config.version = root->optValue<std::string>("version", "");
    config.binary = root->optValue<std::string>("binary", "");
    config.server_root = root->optValue<std::string>("server_root", "");
    config.config_file = root->optValue<std::string>("config_file", "");
    config.pid_file = root->getValue<std::string>("pid_file");
    config.runtime_dir = root->getValue<std::string>("runtime_dir");
    config.config_id = root->optValue<std::string>("config_id", "");
    config.graceful_shutdown_timeout = root->optValue<int>("graceful_shutdown_timeout", 0);
    if (const auto listen = root->getArray("listen")) {
      for (unsigned i = 0; i < listen->size(); ++i) {
        const auto entry = listen->getObject(i);
        auto address = os::SocketAddress::Parse(entry->getValue<std::string>("address"));
        if (!address) return wrong("has a bad address: " + address.error().Text());
        config.listen.push_back({address.value().Text(),
                                 entry->optValue<std::string>("protocol", ""),
                                 {entry->optValue<std::string>("file", ""), entry->optValue<int>("line", 0)}});
      }
    }
    if (const auto logs = root->getArray("logs")) {
      for (unsigned i = 0; i < logs->size(); ++i) {
        const auto entry = logs->getObject(i);
        config.logs.push_back(
            {entry->optValue<std::string>("kind", ""), entry->optValue<std::string>("text", ""), PlaceOf(*entry), {}});
        if (const auto words = entry->getArray("arguments")) {
          for (unsigned word = 0; word < words->size(); ++word) {
            config.logs.back().arguments.push_back(words->getElement<std::string>(word));
          }
        }
      }
    }
    if (const auto place = root->getObject("pid_file_where")) config.pid_file_place = PlaceOf(*place);
    if (const auto shared = root->getArray("shared")) {
      for (unsigned i = 0; i < shared->size(); ++i) {
        const auto entry = shared->getObject(i);
        config.shared.push_back(
            {entry->getValue<std::string>("id"), entry->optValue<std::string>("severity", "danger") != "notice",
             entry->optValue<std::string>("text", ""), entry->optValue<std::string>("advice", ""), PlaceOf(*entry)});
      }
    }
  } catch (const Poco::Exception& failed) {
    return wrong("cannot be used: " + failed.displayText());
  }
  if (!config.pid_file.is_absolute()) return wrong("has no absolute pid_file");
  if (!config.runtime_dir.is_absolute()) return wrong("has no absolute runtime_dir");
  return config;
}

os::Result<RunConfig> AskConfig(const Program& program) {
  auto output = Checked(program, "--run-config", std::chrono::seconds(30));
  if (!output) return output.error();
  return ParseRunConfig(output.value().out);
}

os::Status CheckConfig(const Program& program) {
  auto output = Checked(program, "-t", std::chrono::seconds(60));
  if (!output) return output.error();
  return os::kDone;
}

std::string_view StateName(State state) {
  switch (state) {
    case State::kStandby:
      return "standby";
    case State::kServing:
      return "serving";
    case State::kPaused:
      return "paused";
    case State::kDraining:
      return "draining";
    case State::kUnknown:
      break;
  }
  return "unknown";
}

os::Result<Control> Control::Connect(const std::filesystem::path& runtime_dir, pid_t pid) {
  auto socket = os::ConnectUnix(handover::ControlPath(runtime_dir, pid), SOCK_SEQPACKET);
  if (!socket) return socket.error();
  auto peer = os::GetPeerCredentials(socket.value());
  if (!peer) return peer.error();
  if (peer.value().pid != pid) {
    return Error{ErrorKind::kInvalid, 0,
                 handover::ControlPath(runtime_dir, pid) + " belongs to process " + std::to_string(peer.value().pid)};
  }
  struct stat directory {};
  const uid_t uid = peer.value().uid;
  if (uid != 0 && uid != ::geteuid() && (::stat(runtime_dir.c_str(), &directory) != 0 || directory.st_uid != uid)) {
    return Error{ErrorKind::kInvalid, 0,
                 handover::ControlPath(runtime_dir, pid) + " belongs to user " + std::to_string(uid) +
                     ", who is neither root, nor you, nor the owner of the directory"};
  }
  return Control(std::move(socket).value());
}

os::Result<Hello> Control::SayHello(Ownership ownership) {
  Message request("hello");
  if (ownership == Ownership::kOwner) request.Add("OWNER", "1");
  auto answer = handover::Ask(socket_, request, kAnswerMs);
  if (!answer) return answer.error();
  const Message& message = answer.value();
  Hello hello;
  hello.pid = static_cast<pid_t>(message.GetNumber("PID").value_or(0));
  hello.state = ParseState(message.Get("STATE").value_or(""));
  hello.generation = static_cast<int>(message.GetNumber("GENERATION").value_or(0));
  hello.version = Text(message, "VERSION");
  hello.binary = Text(message, "BINARY");
  hello.started = message.GetNumber("STARTED").value_or(0);
  hello.server_root = Text(message, "SERVER_ROOT");
  hello.config_file = Text(message, "CONFIG_FILE");
  return hello;
}

os::Result<std::vector<handover::Listener>> Control::Listeners() {
  std::vector<handover::Listener> out;
  for (;;) {
    Message request("listeners");
    if (!out.empty()) request.Add("FROM", std::to_string(out.size()));
    auto answer = handover::Ask(socket_, request, kAnswerMs);
    if (!answer) return answer.error();
    Message& message = answer.value();
    size_t next = 0;
    for (const auto& [key, value] : message.fields) {
      if (key != "LISTENER") continue;
      if (next == message.descriptors.size()) break;
      auto address = os::SocketAddress::OfSocket(message.descriptors[next]);  // what the kernel says, not what was said
      if (!address) return address.error();
      out.push_back({address.value(), value, std::move(message.descriptors[next])});
      ++next;
    }
    if (next != message.descriptors.size() || (next == 0 && message.Get("MORE"))) {
      return Error{ErrorKind::kInvalid, 0, "the instance's list of listeners does not match its descriptors"};
    }
    if (!message.Get("MORE")) return out;
  }
}

os::Status Control::Accept(bool on) {
  Message request("accept");
  request.Add("ON", on ? "1" : "0");
  auto answer = handover::Ask(socket_, request, 15000);
  if (!answer) return answer.error();
  return os::kDone;
}

os::Result<os::Fd> Control::Adopt() {
  auto answer = handover::Ask(socket_, Message("adopt"), kAnswerMs);
  if (!answer) return answer.error();
  if (answer.value().descriptors.size() != 1) {
    return Error{ErrorKind::kInvalid, 0, "the answer to \"adopt\" has no descriptor"};
  }
  return std::move(answer.value().descriptors.front());
}

namespace {

/// Asks with a copy of `intake` along, if there is one.
os::Status AskToPass(const os::Fd& socket, Message request, const os::Fd& intake) {
  if (intake.valid()) {
    os::Fd copy = intake.Duplicate();
    if (!copy.valid()) return os::SysError(errno, "copy a descriptor");
    request.descriptors.push_back(std::move(copy));
  }
  auto answer = handover::Ask(socket, request, kAnswerMs);
  if (!answer) return answer.error();
  return os::kDone;
}

}  // namespace

os::Status Control::Drain(int timeout, const os::Fd& intake, CutList list) {
  Message request("drain");
  request.Add("TIMEOUT", std::to_string(timeout));
  if (list == CutList::kWrite) request.Add("CUT_LIST", "1");
  return AskToPass(socket_, std::move(request), intake);
}

os::Status Control::Redirect(const os::Fd& intake) {
  return AskToPass(socket_, Message("drain"), intake);
}

namespace {

Status ToStatus(const Message& message) {
  const auto number = [&message](std::string_view key, int64_t otherwise = 0) {
    return static_cast<int64_t>(message.GetNumber(key).value_or(otherwise));
  };
  Status status;
  status.state = ParseState(message.Get("STATE").value_or(""));
  status.connections = number("CONNECTIONS");
  status.busy = number("BUSY");
  status.accesses = number("ACCESSES");
  status.errors = number("ERRORS");
  status.accepted = number("ACCEPTED");
  status.oldest_ms = number("OLDEST_MS");
  status.children = number("CHILDREN");
  status.generation = number("GENERATION");
  // A release that does not tell them apart: close enough until it is replaced itself.
  status.own_accesses = number("OWN_ACCESSES", status.accesses);
  status.own_bytes = number("OWN_BYTES", number("KBYTES") * 1024);
  status.own_duration_us = number("OWN_DURATION_US");
  status.own_errors = number("OWN_ERRORS", status.errors);
  status.own_accepted = number("OWN_ACCEPTED", status.accepted);
  status.adopted = number("ADOPTED");
  status.passed = number("PASSED");
  return status;
}

}  // namespace

os::Result<Status> Control::AskStatus(int milliseconds) {
  auto answer = handover::Ask(socket_, Message("status"), milliseconds);
  if (!answer) return answer.error();
  return ToStatus(answer.value());
}

os::Status Control::SendStatusQuery() {
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) ::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK);
  return handover::Send(socket_, Message("status"));
}

os::Result<Status> Control::ReceiveStatus() {
  auto answer = handover::Receive(socket_);
  if (!answer) return answer.error();
  if (answer.value().verb != "ok") return Error{ErrorKind::kInvalid, 0, "\"status\" was refused"};
  return ToStatus(answer.value());
}

os::Status Control::Stop() {
  auto answer = handover::Ask(socket_, Message("stop"), kAnswerMs);
  if (!answer) return answer.error();
  return os::kDone;
}

os::Result<Instance> OpenInstance(const std::filesystem::path& runtime_dir, pid_t pid) {
  Instance instance;
  auto before = os::Identify(pid);
  if (!before) return before.error();
  auto process = os::ProcessHandle::Open(pid);
  if (!process) return process.error();
  auto control = Control::Connect(runtime_dir, pid);
  if (!control) return control.error();
  auto hello = control.value().SayHello(Control::Ownership::kNone);
  if (!hello) return hello.error();
  if (hello.value().pid != pid) {
    return Error{ErrorKind::kInvalid, 0,
                 "the instance " + std::to_string(pid) + " says it is process " + std::to_string(hello.value().pid)};
  }
  if (!os::IsRunning(before.value())) {
    return Error{ErrorKind::kNotFound, 0, "process " + std::to_string(pid) + " has just ended"};
  }
  instance.id = before.value();
  instance.process = std::move(process).value();
  instance.control = std::move(control).value();
  instance.hello = std::move(hello).value();
  return instance;
}

os::Result<Instance> FindServing(const RunConfig& config) {
  std::string why = "there is no " + config.pid_file.string();
  if (auto pid = os::ReadPidFile(config.pid_file); pid) {
    auto instance = OpenInstance(config.runtime_dir, pid.value());
    if (instance) return instance;
    if (instance.error().kind == ErrorKind::kDenied) return instance.error();
    why = config.pid_file.string() + " names process " + std::to_string(pid.value()) + ", which is no instance (" +
          instance.error().Text() + ")";
  } else if (pid.error().kind != ErrorKind::kNotFound) {
    why = pid.error().Text();
  }
  // PidFile may be lost, or be named differently in the configuration that we were given.
  if (auto list = ListInstances(config.runtime_dir); list) {
    for (const Found& found : list.value()) {
      if (found.hello && found.hello->state == State::kServing) return OpenInstance(config.runtime_dir, found.pid);
    }
  }
  return Error{ErrorKind::kNotFound, 0, why};
}

os::Result<std::vector<Found>> ListInstances(const std::filesystem::path& runtime_dir) {
  std::vector<Found> out;
  auto names = os::ListDirectory(runtime_dir);
  if (!names) {
    if (names.error().kind == ErrorKind::kNotFound) return out;
    return names.error();
  }
  for (const std::string& name : names.value()) {
    Found found;
    found.pid = handover::PidOfControl(name);
    if (found.pid == 0) continue;
    auto instance = OpenInstance(runtime_dir, found.pid);
    if (instance) {
      found.hello = instance.value().hello;
      if (auto status = instance.value().control.AskStatus(); status) found.status = status.value();
    } else {
      found.problem = instance.error().Text();
      found.dead =
          !os::Identify(found.pid) || (instance.error().sys == ECONNREFUSED && !HoldsLock(runtime_dir, found.pid));
    }
    out.push_back(std::move(found));
  }
  std::sort(out.begin(), out.end(), [](const Found& a, const Found& b) {
    const int64_t a_started = a.hello ? a.hello->started : 0;
    const int64_t b_started = b.hello ? b.hello->started : 0;
    return a_started != b_started ? a_started < b_started : a.pid < b.pid;
  });
  return out;
}

os::Result<int> Get(const std::filesystem::path& http_socket, const std::string& path) {
  auto connected = os::ConnectUnix(http_socket, SOCK_STREAM);
  if (!connected) return connected.error();
  try {
    Poco::Net::StreamSocket stream(new Poco::Net::StreamSocketImpl(connected.value().Release()));
    stream.setSendTimeout(Poco::Timespan(5, 0));  // the session's own time-out is for sockets that it opens itself
    stream.setReceiveTimeout(Poco::Timespan(5, 0));
    Poco::Net::HTTPClientSession session(stream);
    session.setKeepAlive(false);
    Poco::Net::HTTPRequest request(Poco::Net::HTTPRequest::HTTP_GET, path, Poco::Net::HTTPMessage::HTTP_1_1);
    request.setHost("localhost");
    request.set("User-Agent", "baton-orchestrator");
    session.sendRequest(request);
    Poco::Net::HTTPResponse response;
    std::istream& body = session.receiveResponse(response);
    body.ignore(std::numeric_limits<std::streamsize>::max());  // a body that breaks off is no good answer either
    if (body.bad()) return Error{ErrorKind::kIo, 0, "the response broke off"};
    return static_cast<int>(response.getStatus());
  } catch (const Poco::TimeoutException&) {
    return Error{ErrorKind::kTimeout, 0, "no answer within 5 s"};
  } catch (const Poco::Net::NoMessageException&) {
    return Error{ErrorKind::kIo, 0, "the connection was closed without an answer"};
  } catch (const Poco::Exception& failed) {
    return Error{ErrorKind::kIo, 0, failed.displayText()};
  }
}

}  // namespace orchestrator::httpd
