#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/error.h"
#include "os/fd.h"

namespace handover {

/// Protocol version that we speak and accept; the first line of every message is `BATON=<version>`.
inline constexpr std::string_view kProtocolVersion = "1";

/// One message between instances, or between an instance and the orchestrator. One SOCK_SEQPACKET packet:
///
///     BATON=1\n
///     VERB=accept\n
///     ON=1\n          any number of KEY=value lines; a key may repeat; KEY is [A-Z0-9_]+, value has no newline
///     \n              only when a body follows
///     (raw bytes)
///
/// Verbs (DESIGN 3): `hello`, `listeners`, `accept`, `status`, `drain`, `adopt`; ours besides: `stop`. An answer has
/// the verb `ok`, or `refused` with `REASON=sentence`.
struct Message {
  std::string verb;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  std::vector<os::Fd> descriptors;  ///< owned; received ones come here, Send() lends them

  Message() = default;
  explicit Message(std::string v) : verb(std::move(v)) {}

  /// First value of `key`.
  std::optional<std::string_view> Get(std::string_view key) const;
  /// First value of `key` as a number; nullopt when missing or not a decimal number.
  std::optional<long long> GetNumber(std::string_view key) const;
  Message& Add(std::string key, std::string value) {
    fields.emplace_back(std::move(key), std::move(value));
    return *this;
  }
};

/// Text of a message, descriptors left out. Newlines and NUL bytes in the verb and in values become spaces, so
/// that nothing can forge a field. Keys are ours and must be [A-Z0-9_]+.
std::string Encode(const Message& message);

/// Parses what Encode() wrote, or a stranger's bytes. @return kInvalid with a sentence that says what is wrong; for a
/// version other than ours: "protocol version 2 is not spoken here (this is version 1)"
os::Result<Message> Decode(std::string_view packet);

/// `refused` with a reason.
Message Refusal(std::string reason);

/// Sends one message; its descriptors are lent. See os::SendPacket for errors.
os::Status Send(const os::Fd& socket, const Message& message);

/// Receives one message.
/// @return kNotFound: the other end is gone; kBusy: nothing there yet; kInvalid: malformed, oversized or wrong version
os::Result<Message> Receive(const os::Fd& socket);

/// Sends a request and waits for its answer at most `milliseconds`. The socket is blocking (ConnectUnix).
/// @return the answer when its verb is `ok`; kInvalid with the peer's REASON when it refused; kTimeout
os::Result<Message> Ask(const os::Fd& socket, const Message& request, int milliseconds = 10000);

}  // namespace handover
