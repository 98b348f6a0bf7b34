#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "handover/cut_list.h"
#include "handover/passing.h"
#include "httpd/net/deadlines.h"
#include "httpd/net/exchange.h"
#include "httpd/net/reactor.h"
#include "httpd/net/scoreboard.h"
#include "os/error.h"
#include "os/fd.h"

namespace httpd::net {

class Http2;        ///< the loop's own (http2.h)
struct Http2Pool;   ///< ... and this
struct Asked;       ///< the loop's own (connection.h), as Connection
struct Transfer;    ///< ... and this
struct WakeTarget;  ///< ... and this
struct Work;        ///< ... and this
class TlsService;
class ProxyHeaderService;

struct DropHttp2 {
  void operator()(Http2* http2) const;
  void operator()(Http2Pool* pool) const;
};

/// A socket that a loop accepts from.
struct ListenSource {
  int fd = -1;  ///< a loan; shared with other loops and processes
  uint16_t port = 0;
  bool is_private = false;  ///< the instance's own socket: accepted from in standby, paused and draining too
};

/// How a loop leaves.
struct DrainPlan {
  int successor = -1;         ///< where idle connections go (sending end of an intake, a loan); -1 = nowhere
  bool read_intake = false;   ///< go on adopting from our own intake until its end-of-file, which is the kernel's word
                              ///< that nobody can send any more: the youngest generation's part
  bool keep_private = false;  ///< go on answering on the private socket while anything is left
};

/// One thread's connections: accepts, reads, calls the handler, writes, passes idle connections on.
///
/// Threads  everything but Post() belongs to the thread that calls Run().
/// Blocks   never, but in epoll_wait(2); files are read from the page cache or by sendfile(2).
class EventLoop final : public Reactor {
 public:
  struct Setup {
    std::vector<ListenSource> listeners;
    int intake = -1;                              ///< receiving end of the instance's intake; -1 = none
    const TlsService* tls = nullptr;              ///< for public listeners; must outlive the loop. null: no TLS
    const ProxyHeaderService* proxied = nullptr;  ///< ... as this. null: no connection begins with such a header
    LoopSlot* slot = nullptr;                     ///< our row of the scoreboard
    uint32_t max_busy = 2048;                     ///< accept no more while so many requests are in progress
    size_t max_held = 0;               ///< connections at a time, 0 = no limit: then idle ones go, or others wait
    bool show_request_tails = false;   ///< on the scoreboard: the ends of long request lines, not their beginnings
    uint64_t max_connections = 0;      ///< ask to be recycled after so many; 0 = never
    std::function<void()> on_recycle;  ///< called once, from the loop's thread
    std::function<bool()> may_end;     ///< a drained loop goes on turning until this is true; unset = always
    std::function<void(const handover::Message&)>
        on_counters;                                   ///< a predecessor's numbers came with an `adopt` message
    std::function<void(std::string_view)> on_trouble;  ///< a sentence for the error log
  };

  EventLoop(Setup setup, RequestHandler& handler);
  ~EventLoop() override;
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  os::Status Open();

  /// Runs until StopNow() or until a drain is finished.
  void Run();

  /// From any thread: `command` runs on the loop's thread after the current turn.
  void Post(std::function<void()> command);

  /// Watches a foreign descriptor (the child's control channel). Before Run().
  os::Status WatchForeign(int fd, std::function<void()> ready);

  void SetAccepting(bool on);
  void Drain(const DrainPlan& plan);
  void StopNow() { stop_ = true; }

  /// As StopNow(), and tells of every request that ends unfinished; answers that were begun are logged as aborted.
  /// Connections between two requests are not among them, nor those of the private socket.
  void CutAndStop(const std::function<void(const handover::CutRequest&)>& tell);

  os::Result<std::unique_ptr<Watch>> WatchDescriptor(int fd, uint32_t events,
                                                     std::function<void(uint32_t)> ready) override;
  [[nodiscard]] std::unique_ptr<Timer> After(std::chrono::milliseconds delay, std::function<void()> due) override;
  void RunSoon(std::function<void()> work) override;
  void Keep(std::shared_ptr<void> object) override;
  void LetGo(const void* object) override;
  void WhenLeaving(std::function<void()> leaving) override;
  std::shared_ptr<void>& Local(const void* key) override { return locals_[key]; }
  Waker WakerOf(const Request& request) override;
  uint64_t NowMs() const override { return now_ms_; }

 private:
  friend struct WakeTarget;
  friend class Http2;
  /// Lives until the turn ends in which its Watch was destroyed: epoll_wait(2) may have reported it already.
  struct WatchEntry {
    int fd = -1;
    uint32_t events = 0;
    bool is_alive = true;
    std::function<void(uint32_t)> ready;
  };
  class LoopWatch;
  class LoopTimer;
  enum class Io { kDone, kBlocked, kGone };

  void UpdateClock();
  void Turn();
  void RunCommands();
  void OnWatch(uint64_t data, uint32_t events);
  void RunTimers();
  void RunSoonWork();
  int UntilDue(int timeout_ms) const;  ///< how long a turn may wait: `timeout_ms`, or less
  void Woken(std::shared_ptr<WakeTarget> target) { woken_.push_back(std::move(target)); }
  void OnWoken(const WakeTarget& target);
  void Sweep();
  /// A head or a body begins to arrive: its time runs from now.
  void BeginReading(Connection* c, const http::RequestHead* body_of);
  /// When what is arriving must be complete, after `bytes` of it.
  uint64_t ReadDeadline(const Connection* c, uint64_t bytes) const;
  /// Closes connections between two requests, those first whose time is up first, to make room. @return how many
  size_t GiveUpIdle(size_t most);
  bool HasRoom() const;  ///< or can make some
  bool IsFull() const;
  /// Keeps client_bound_ right after a change of state.
  void Recount(Connection* c);
  void UpdateAccepting();
  /// @return connections taken; less than `most`: no more are there, or there is no room
  int Accept(const ListenSource& source, int most);
  void WatchListener(size_t listener, bool on);
  /// Goes to the end of the queue of those who wait for a listener, now and then.
  /// @param kept  connections from it that are still open
  void LetOthersComeFirst(size_t listener, size_t kept);
  bool ReceiveAdopted();  ///< one message; false: there is none
  Connection* NewConnection(os::Fd fd, uint16_t local_port, bool is_private);
  /// Serves on a connection that another loop has answered on.
  void GoOnWith(handover::PassedConnection passed);
  void Destroy(Connection* c);
  void Want(Connection* c, uint32_t events);
  /// The connection's bytes: values and errno as of recv(2) and send(2); never a signal.
  static ssize_t Receive(Connection* c, char* to, size_t most);
  static ssize_t SendBytes(Connection* c, std::string_view bytes, bool more);
  /// As SendBytes(), of a file. 0: it is shorter than that.
  /// @param use_sendfile  false: it is read and sent, for file systems that sendfile(2) does not work on
  static ssize_t SendFile(Connection* c, int file, uint64_t offset, size_t most, bool use_sendfile);
  /// Goes on with the header of the PROXY protocol. true: it is complete, and what comes now is the client's own
  bool ReadProxyHeader(Connection* c);
  void RefuseProxyHeader(Connection* c, std::string_view why);  ///< ... and the connection, which is gone then
  /// @param address  "": nobody else than who has connected
  static void SetClient(Connection* c, std::string_view address, uint16_t port);
  /// Goes on with the handshake of a TLS connection. true: it is complete, bytes of requests come now
  bool Handshake(Connection* c);
  /// Answers who speaks plain HTTP where TLS is expected.
  void AnswerPlainHttp(Connection* c);
  /// For a TLS connection that is about to wait: what is encrypted goes out; what OpenSSL has read from the socket
  /// already is looked at in this turn, epoll(7) will not say that it is there.
  /// @return `events`, with EPOLLOUT where an answer is being sent that did not go out
  uint32_t BeforeWaiting(Connection* c, uint32_t events);
  void RunBuffered();
  /// Between two requests it can go to a successor.
  bool CanPass(const Connection* c) const;
  void OnEvent(Connection* c, uint32_t events);
  void OnReadable(Connection* c);
  void OnWritable(Connection* c);
  /// Works through bytes that were read. `data` must have stayed put; the rest is kept in the connection.
  void Process(Connection* c, const char* data, size_t length);
  /// Begins with a request that has a body; false as Answer().
  bool BeginUpload(Connection* c, std::string_view head_text);
  struct Fed {
    size_t taken = 0;
    int bad_status = 0;  ///< not 0: the body cannot be accepted
  };
  Fed FeedBody(Connection* c, std::string_view data);
  bool OnMoreBody(Connection* c);  ///< while the answer is sent; false: the connection is gone
  void OnTunnelHalfClosed(Connection* c);
  bool FeedWhileSending(Connection* c, std::string_view data);  ///< ... as this
  void WaitForRest(Connection* c);                              ///< of c->asked: its body, or its answer
  std::unique_ptr<Asked> NewAsked();
  void Recycle(std::unique_ptr<Asked> asked);
  /// @param head  its views are into `head_text`
  bool Park(Connection* c, const http::RequestHead& head, std::string_view head_text, uint64_t bytes_in);
  void ResumeAnswer(Connection* c, bool is_late);
  void SendInterim(Connection* c);
  /// Sends an answer that stands; false as Answer(). `asked` must stay where it is until this returns.
  bool SendAsked(Connection* c, Asked& asked);
  void TakeTerms(Connection* c, const Response& response);
  bool KeepsAfter(Connection* c, const http::RequestHead& head, const Response& response);
  void GiveUp(Connection* c);  ///< what was to be answered is logged as aborted
  /// For a connection that is gone but whose caller still holds the pointer: the loop finds the error at once.
  void LeaveWreck(Connection* c);
  static uint32_t BodyEvents(const Connection* c);
  /// Answers `head`; false: the connection is now writing, lingering or gone.
  bool Answer(Connection* c, const http::RequestHead& head, std::string_view head_text, uint64_t bytes_in);
  /// As Answer(); the connection closes afterwards.
  bool AnswerBad(Connection* c, int status, const char* reason);
  bool Send(Connection* c, Response& response, const http::RequestHead& head, std::string_view head_text,
            uint64_t bytes_in, bool keep);
  Io FlushOut(Connection* c, bool more);
  /// Reads the beginning of `response.source` into first_: a body that is complete already is one of memory then.
  /// false: it failed, and nothing was sent yet.
  bool ReadAhead(Response& response);
  /// Bytes of the body, of which ReadAhead() may have read some, or of what a HEAD would get; nullopt: not known.
  std::optional<uint64_t> LengthToTell(const Response& response) const;
  std::unique_ptr<Transfer> NewTransfer();
  void Recycle(std::unique_ptr<Transfer> transfer);
  /// Sends a part of the file from `done` on, which it moves: as far as the socket takes it, `most` bytes of it.
  Io SendPart(Connection* c, const Response& response, size_t part, uint64_t most, uint64_t& done);
  Io PumpTransfer(Connection* c);
  Io PumpFile(Connection* c);
  Io PumpSource(Connection* c);
  BodySource::State ReadSource(Transfer& t, uint64_t until_ns);
  Io WaitForClient(Connection* c);
  Io WaitForSource(Connection* c);
  Io WaitForRate(Connection* c);
  uint64_t Allowance(const Response& response, uint64_t& allowance, uint64_t& refilled_ms) const;
  void OnHalfClosed(Connection* c);
  void FinishTransfer(Connection* c, bool aborted);
  void AfterAnswer(Connection* c);
  /// Nothing of a request is left: neither is its memory.
  void GiveBack(Connection* c);
  /// What many clients needed at the same time goes back to the system, not only to the next who allocates.
  void TrimMemory();
  void BecomeIdle(Connection* c, uint64_t wait_ms = 0);  ///< 0: as long as its configuration says
  void StartLinger(Connection* c);
  void Pass(Connection* c, uint64_t wait_ms);
  void FlushPassing();
  void NoSuccessorAnyMore();
  bool Finished();
  std::optional<handover::CutRequest> InProgress(const Connection* c) const;
  void BeginWork(Connection* c, const http::RequestHead& head);
  void EndWork(Connection* c, uint64_t bytes, int status);
  /// The part of both that is the same for a stream of HTTP/2.
  void Count(Work& work, const char* client, const http::RequestHead& head);
  void CountOut(Work& work, uint64_t bytes, int status, uint64_t now_ns);
  /// The connection speaks HTTP/2 from now on, beginning with `received`.
  /// @param upgrade  the HTTP/1.1 request that asked for it, to be answered as the first; null: there was none
  void BeginHttp2(Connection* c, std::string_view received, const http::RequestHead* upgrade);
  bool IsHttp2Preface(Connection* c, std::string_view received);
  /// Whether `head`, the whole of a request, asks for HTTP/2 and gets it.
  bool UpgradesToHttp2(Connection* c, const http::RequestHead& head);
  Http2Pool& SharedOfHttp2();
  void SweepStreams();
  enum class Http2End { kNone, kLinger, kGone };
  /// After whatever a connection of HTTP/2 has done.
  void GoOnWithHttp2(Connection* c, Http2End end);
  Request MakeRequest(Connection* c, const http::RequestHead& head);
  void SetState(Connection* c, uint8_t state);

  Setup setup_;
  RequestHandler& handler_;
  os::Fd epoll_;
  os::Fd wake_;
  std::unique_ptr<char[]> scratch_;
  std::string out_;
  std::string first_;  // of the source that is about to be sent
  BodySource::State first_state_ = BodySource::State::kMore;
  std::string piece_;      // of a source, before it is framed
  std::string sent_head_;  // of the answer that is being sent
  std::vector<std::unique_ptr<Asked>> spare_asked_;
  std::vector<std::unique_ptr<Transfer>> spare_transfers_;
  Response response_;
  http::RequestHead head_;
  std::vector<Connection*> connections_;  // all; each knows its index
  std::vector<Connection*> free_;
  std::vector<std::unique_ptr<Connection[]>> blocks_;  // of both; kept, next to each other: none pins a page of buffers
  DeadlineWheel deadlines_;                            // of all that wait for something
  DeadlineWheel stream_deadlines_;                     // of streams of HTTP/2
  std::unique_ptr<Http2Pool, DropHttp2> http2_;        // null: no connection has spoken HTTP/2
  std::vector<std::pair<int, std::function<void()>>> foreign_;
  std::vector<handover::PassedConnection> passing_;
  std::vector<std::unique_ptr<WatchEntry>> dead_watches_;
  std::multimap<uint64_t, LoopTimer*> timers_;
  std::vector<std::function<void()>> soon_;
  std::vector<std::function<void()>> leaving_;
  std::vector<std::shared_ptr<WakeTarget>> woken_;
  std::vector<Connection*> buffered_;  // whose TLS holds bytes that epoll(7) does not know of
  std::unordered_map<const void*, std::shared_ptr<void>> kept_;
  std::unordered_map<const void*, std::shared_ptr<void>> locals_;
  std::mutex commands_mutex_;
  std::vector<std::function<void()>> commands_;
  std::vector<uint32_t> free_workers_;
  std::string date_line_;
  int64_t date_second_ = -1;
  uint64_t now_ms_ = 0;
  int64_t wall_ns_ = 0;
  uint64_t next_sweep_ms_ = 0;
  uint64_t accept_again_ms_ = 0;
  uint64_t give_up_again_ms_ = 0;
  uint64_t trim_again_ms_ = 0;
  size_t freed_bytes_ = 0;  // of buffers, since the last trim
  uint64_t accepted_ = 0;
  size_t kept_in_a_row_ = 0;   ///< connections since we went to the end of a listener's queue
  int accept_at_once_ = 1;     ///< what the last turns say: how many are there when a listener is ready
  uint32_t client_bound_ = 0;  ///< requests in progress that only wait for their clients: to send or to take something
  bool recycle_asked_ = false;
  bool accepting_ = false;
  bool watching_public_ = false;
  bool watching_private_ = false;
  bool draining_ = false;
  bool intake_watched_ = false;
  bool stop_ = false;
  bool logs_pending_ = false;
  DrainPlan plan_;
};

}  // namespace httpd::net
