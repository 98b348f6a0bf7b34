#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "handover/listen_fds.h"
#include "handover/message.h"
#include "httpd/config/command_line.h"
#include "httpd/lifecycle/parent_state.h"
#include "httpd/log/error_log.h"
#include "httpd/log/log_set.h"
#include "httpd/modules/site.h"
#include "httpd/modules/ssl_stapling_store.h"
#include "httpd/modules/ssl_tickets.h"
#include "httpd/net/scoreboard.h"
#include "httpd/process/child.h"
#include "httpd/process/listeners.h"
#include "httpd/process/load.h"
#include "httpd/process/log_throttle.h"
#include "os/clock.h"
#include "os/error.h"
#include "os/lock_file.h"
#include "os/poll.h"
#include "os/process.h"
#include "os/signals.h"

namespace httpd::process {

/// The parent process of one instance: configuration, listeners, scoreboard, generations of children, log programs,
/// control socket. One thread, one poll loop; every move is a row of lifecycle::kRows.
class Parent {
 public:
  /// @param clock      must outlive the parent
  /// @param inherited  listening sockets from LISTEN_FDS
  /// @param on_ready   called once when the instance serves, or stands by; the time to let go of the terminal
  Parent(config::Options options, std::shared_ptr<const Loaded> loaded, std::vector<handover::Listener> inherited,
         os::Clock& clock, std::function<void()> on_ready);
  ~Parent();

  /// Opens everything and starts the first generation. @return what Apache would print on the terminal
  os::Status Start();

  /// Runs until the instance has ended. @return exit status: 0, or 1 when the first generation could not start
  int Run();

 private:
  struct Generation;
  struct ChildProcess {
    pid_t pid = 0;
    uint32_t number = 0;
    os::Fd channel;
    std::vector<size_t> slots;
    bool ready = false;
    bool leaving = false;    ///< told to drain or stop: its end is no surprise
    int replaces = 0;        ///< pid of the child that leaves when this one is ready (recycling)
    bool accepting = false;  ///< as last confirmed by the child
    os::Clock::Steady started;
  };
  struct Generation {
    uint32_t number = 0;
    std::shared_ptr<const Loaded> loaded;
    std::unique_ptr<log::LogSet> logs;
    std::unique_ptr<modules::Site> site;
    std::unique_ptr<log::ErrorLog> error_log;
    ListenerList listeners;
    Identity identity;
    std::list<ChildProcess> children;
    os::PollLoop::TimerId deadline = 0;
  };
  struct Control {
    os::Fd fd;
    bool is_owner = false;      ///< said `hello OWNER=1`
    bool wants_accept = false;  ///< waits for `accept` to be done
    bool accept_on = false;
    bool wants_restart = false;  ///< waits for a graceful restart or restart
    bool spoke = false;          ///< sent a message that could be read
    pid_t peer = 0;
    os::Clock::Steady since;
  };

  using Level = config::LogLevel;
  void Log(Level level, const std::string& text) const;
  void Fire(lifecycle::Event event);
  void Perform(lifecycle::Action action);

  os::Result<std::unique_ptr<Generation>> Prepare(std::shared_ptr<const Loaded> loaded, const ListenerList& have,
                                                  bool inherited_only);
  os::Status OpenSockets();
  os::Status StartChildren(Generation& generation);
  os::Status StartChild(Generation& generation, int replaces);
  void TellChild(ChildProcess& child, const handover::Message& message);
  void OnChildMessage(pid_t pid);
  ChildProcess* FindChild(pid_t pid, Generation** generation);
  std::vector<Generation*> Generations() const;

  void OnSignal();
  void OnChildEnds();
  void OnChildEnded(Generation& generation, std::list<ChildProcess>::iterator child, os::ExitStatus status);
  bool OnProgramEnded(pid_t pid, os::ExitStatus status);
  void Tick();
  /// How many children to start now: StartServers, then MinSpareThreads; with more idle than MaxSpareThreads one child
  /// above StartServers is told to leave.
  int MissingChildren(int present);
  void CheckGone();
  int64_t WallSeconds() const;
  /// Keys of session tickets: those of other instances, and a new one when it is time.
  void RefreshTicketKeys(const log::ErrorLog& error_log);
  /// What certificates are stapled with: what other instances know, and what our children were told.
  void RefreshStapling(const log::ErrorLog& error_log);
  void Retire(std::unique_ptr<Generation> generation);

  void NewGeneration();
  void Promote();
  void PublishConfig();  ///< httpd.<pid>.conf
  void AbandonPending(const std::string& why);
  void ReplaceChildren();
  void FinishReplace();
  void BeginDrain();
  void EndChildren(const std::string& why);
  void KillChildren();
  /// "stop" for every child of a generation; at a deadline what it cuts is told.
  void StopChildren(Generation& generation);
  /// The requests that the scoreboard shows for a child that does not answer, for error log and cut list.
  void TellCutsOf(const ChildProcess& child);
  void FinishExit();
  void AnnounceReady();
  void WatchLauncher();
  void LeaveStandby();
  void SetAccepting(bool on);
  void AnswerAccept();
  void BecomeMainProcess();  ///< MAINPID to the service manager of the instance that was replaced, if it has one
  void AnswerRestart(const os::Status& outcome);
  /// Gives the successor what was counted since the last time.
  void PassCounters();
  void DrainChildren(Generation& generation, const std::string& pass, bool intake, bool is_private);

  void OnControlConnection();
  void OnControlMessage(Control& control);
  void DropControl(Control& control);
  /// One line about a peer that is refused, unless there were many; see LogThrottle.
  void TellTrouble(const std::string& text);
  /// Says why, then the connection may close: what the peer has sent is read first, so that it gets to read the answer.
  void Refuse(const os::Fd& fd, const std::string& reason);
  void DropSilentControls();
  handover::Message HandleVerb(Control& control, handover::Message& message, bool& answer_later,
                               std::function<void()>& afterwards);
  handover::Message Hello(Control& control, const handover::Message& message);
  handover::Message StatusAnswer() const;

  config::Options options_;
  std::shared_ptr<const Loaded> first_config_;
  std::vector<handover::Listener> inherited_;
  os::Clock& clock_;
  std::function<void()> on_ready_;
  std::unique_ptr<os::PollLoop> loop_;
  std::unique_ptr<os::SignalFd> signals_;
  std::unique_ptr<net::Scoreboard> board_;
  std::shared_ptr<modules::TicketKeys> ticket_keys_;  ///< null: no host speaks TLS
  std::string ticket_trouble_;                        ///< with their file, as it was told last
  std::shared_ptr<modules::StaplingStore> stapling_;  ///< null: no certificate is stapled
  std::string stapling_trouble_;
  os::LockFile lock_;
  os::Fd control_listener_;
  os::Fd private_listener_;
  os::Fd intake_read_;
  os::Fd intake_write_;
  os::Fd successor_;
  lifecycle::State state_ = lifecycle::State::kStarting;
  lifecycle::State state_before_ = lifecycle::State::kStarting;
  std::unique_ptr<Generation> current_;
  std::unique_ptr<Generation> pending_;  ///< the next one, until all its children are ready
  std::list<std::unique_ptr<Generation>> old_;
  std::list<log::LogProgram> leaving_programs_;  ///< of retired generations, reading to the end of their pipes
  std::list<Control> controls_;
  LogThrottle control_troubles_;
  bool accepting_ = false;
  bool leftovers_ = true;  ///< of dead instances may still be in the runtime directory
  bool standby_ = false;
  os::ProcessHandle launcher_;                  ///< of a standby instance: who started us
  bool graceful_again_ = false;                 ///< asked for while one was under way
  std::shared_ptr<const Loaded> replace_with_;  ///< HUP: waiting for the old children to go
  std::unique_ptr<log::LogSet> replace_logs_;
  uint32_t next_generation_ = 0;
  int drain_timeout_s_ = 0;
  bool cut_list_wanted_ = false;  ///< who told us to drain wants to read what is cut
  bool at_deadline_ = false;      ///< children are ended because the drain took too long
  os::Fd cut_list_;               ///< open from the deadline on, when it is wanted
  std::string runtime_dir_;
  std::string pid_file_;
  std::string command_line_;
  pid_t own_pid_ = 0;
  os::PollLoop::TimerId deadline_ = 0;
  int exit_status_ = 0;
  int early_deaths_ = 0;
  net::Totals passed_on_;
  int spawn_rate_ = 1;
  bool said_full_ = false;
  os::Clock::Steady no_respawn_before_{};
  os::Clock::Steady exit_patience_{};
  bool exiting_ = false;
};

}  // namespace httpd::process
