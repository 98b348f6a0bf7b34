#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "os/fd.h"
#include "os/socket.h"

namespace support {

/// The server's end of one connection, blocking, for scripts that misbehave on purpose.
/// Reads time out after 10 s (as an end of file), so that a broken test ends.
class Peer {
 public:
  explicit Peer(os::Fd fd);

  /// Next request head up to and including its empty line; "" when the client has closed.
  std::string ReadHead();
  /// Exactly `size` bytes of body; fewer when the client has closed.
  std::string ReadBytes(size_t size);
  /// A chunked body without its framing.
  std::string ReadChunked();
  void Send(std::string_view bytes);
  void Close() { fd_.Reset(); }  ///< FIN (RST when unread bytes are left)
  void Finish();                 ///< FIN; reading goes on
  void Reset();                  ///< RST
  /// Returns once the client has closed its side.
  void AwaitClose();

 private:
  std::string ReadLine();
  bool Fill();
  os::Fd fd_;
  std::string buffer_;
};

/// An HTTP/1.1 response with Content-Length; `headers` are whole lines with CRLF.
std::string Response(std::string_view body, std::string_view headers = "", int status = 200);

/// Listens on a free port of 127.0.0.1 and runs one script per connection, one after the other, in a thread of its own.
class ScriptedServer {
 public:
  using Script = std::function<void(Peer&)>;

  /// @param scripts   for the first connections, in order
  /// @param otherwise for every connection after those
  ScriptedServer(std::vector<Script> scripts, Script otherwise);
  ~ScriptedServer();  ///< ends the thread after the script in progress

  const os::SocketAddress& address() const { return address_; }
  void StopListening();  ///< from now on connections are refused

 private:
  void Serve();
  std::vector<Script> scripts_;
  Script otherwise_;
  os::Fd listener_, wake_read_, wake_write_;
  os::SocketAddress address_;
  std::thread thread_;
};

}  // namespace support
