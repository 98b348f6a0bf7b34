#include "handover/message.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "os/socket.h"

namespace handover {

using os::Error;
using os::ErrorKind;

std::optional<std::string_view> Message::Get(std::string_view key) const {
  for (const auto& [name, value] : fields) {
    if (name == key) return value;
  }
  return std::nullopt;
}

std::optional<long long> Message::GetNumber(std::string_view key) const {
  const auto text = Get(key);
  if (!text) return std::nullopt;
  long long number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return number;
}

namespace {

/// What would end the line, or make the reader refuse it, becomes a space.
void AppendValue(std::string& out, std::string_view value) {
  for (const char c : value) out += c == '\n' || c == '\0' ? ' ' : c;
  out += '\n';
}

}  // namespace

std::string Encode(const Message& message) {
  std::string out = "BATON=" + std::string(kProtocolVersion) + "\nVERB=";
  AppendValue(out, message.verb);
  for (const auto& [key, value] : message.fields) {
    out += key;
    out += '=';
    AppendValue(out, value);
  }
  if (!message.body.empty()) {
    out += '\n';
    out += message.body;
  }
  return out;
}

namespace {

bool IsKey(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

Error Malformed(std::string what) {
  return Error{ErrorKind::kInvalid, 0, "malformed message: " + std::move(what)};
}

}  // namespace

os::Result<Message> Decode(std::string_view packet) {
  Message message;
  size_t line_number = 0;
  while (!packet.empty()) {
    const size_t end = packet.find('\n');
    if (end == std::string_view::npos) return Malformed("the last line has no newline");
    const std::string_view line = packet.substr(0, end);
    packet.remove_prefix(end + 1);
    if (line.empty()) {
      if (line_number < 2) return Malformed("no VERB line");
      message.body = packet;
      return message;
    }
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos || !IsKey(line.substr(0, equals))) {
      return Malformed("line " + std::to_string(line_number + 1) + " is not KEY=value");
    }
    const std::string_view key = line.substr(0, equals);
    const std::string_view value = line.substr(equals + 1);
    if (value.find('\0') != std::string_view::npos) return Malformed("a value holds a NUL byte");
    if (line_number == 0) {
      if (key != "BATON") return Malformed("the first line is not BATON=<version>");
      if (value != kProtocolVersion) {
        return Error{ErrorKind::kInvalid, 0,
                     "protocol version " + std::string(value.substr(0, 20)) + " is not spoken here (this is version " +
                         std::string(kProtocolVersion) + ")"};
      }
    } else if (line_number == 1) {
      if (key != "VERB" || value.empty()) return Malformed("the second line is not VERB=<verb>");
      message.verb = value;
    } else {
      message.fields.emplace_back(key, value);
    }
    ++line_number;
  }
  if (line_number < 2) return Malformed(line_number == 0 ? "it is empty" : "no VERB line");
  return message;
}

Message Refusal(std::string reason) {
  Message message("refused");
  message.Add("REASON", std::move(reason));
  return message;
}

os::Status Send(const os::Fd& socket, const Message& message) {
  std::vector<int> lent;
  lent.reserve(message.descriptors.size());
  for (const os::Fd& fd : message.descriptors) lent.push_back(fd.get());
  return os::SendPacket(socket, Encode(message), lent);
}

os::Result<Message> Receive(const os::Fd& socket) {
  auto packet = os::ReceivePacket(socket);
  // The reset is told before what the other end sent last: the reason of a refusal, perhaps.
  if (!packet && packet.error().sys == ECONNRESET) packet = os::ReceivePacket(socket);
  if (!packet && packet.error().sys == ECONNRESET) {
    return Error{ErrorKind::kNotFound, ECONNRESET, "the other end has closed the connection"};
  }
  if (!packet) return packet.error();
  if (packet.value().truncated) {
    return Error{ErrorKind::kInvalid, 0, "oversized message: more than 128 KiB or more than 253 descriptors"};
  }
  if (packet.value().data.empty() && packet.value().descriptors.empty()) {
    return Error{ErrorKind::kNotFound, 0, "the other end has closed the connection"};
  }
  auto message = Decode(packet.value().data);
  if (message) message.value().descriptors = std::move(packet.value().descriptors);
  return message;
}

os::Result<Message> Ask(const os::Fd& socket, const Message& request, int milliseconds) {
  if (auto sent = Send(socket, request); !sent) return sent.error();
  pollfd entry{socket.get(), POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&entry, 1, milliseconds);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) {
    return Error{ErrorKind::kTimeout, 0,
                 "no answer to \"" + request.verb + "\" within " + std::to_string(milliseconds) + " ms"};
  }
  auto answer = Receive(socket);
  if (!answer) return answer.error();
  if (answer.value().verb == "ok") return answer;
  const auto reason = answer.value().Get("REASON");
  return Error{ErrorKind::kInvalid, 0,
               "\"" + request.verb + "\" was refused: " + std::string(reason.value_or("no reason given"))};
}

}  // namespace handover
