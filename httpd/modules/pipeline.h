#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/modules/answer_cache.h"
#include "httpd/modules/error_lines.h"
#include "httpd/modules/module.h"
#include "httpd/modules/request_state.h"
#include "httpd/modules/section_walk.h"

namespace httpd::modules {

/// Drives requests through the stations of the modules (module.h), through internal redirects and error documents, to
/// an answer. One per loop.
class Pipeline final : public Engine {
 public:
  /// @param site, board  must outlive the pipeline
  Pipeline(const Site& site, const net::Scoreboard& board) : site_(site), board_(board), walk_(site) {}

  /// Answers the request that `state` was started with: its response is complete when this returns, or deferred.
  /// @param on  gets what the look-ups of the request saw; null: nobody asks
  void Run(RequestState& state, Dependencies* on = nullptr);

  /// Goes on with a deferred answer; `state` was bound to the request again.
  void Resume(RequestState& state, bool is_late);

  /// Answers with an error: a request that could not be understood, or was refused before it could be mapped.
  void RunBad(RequestState& state, int status);

  std::unique_ptr<RequestState> LookUp(RequestState& from, std::string_view uri) override;
  std::unique_ptr<RequestState> LookUpFile(RequestState& from, std::string_view file) override;
  void Become(RequestState& state, std::unique_ptr<RequestState> found) override;
  void LogError(const RequestState& state, config::LogLevel level, std::string_view module, std::string text) override;
  std::string Signature(const RequestState& state) override;
  Dependencies* dependencies() override { return dependencies_; }
  const Site& site() const override { return site_; }
  const net::Scoreboard& board() const override { return board_; }

 private:
  /// What comes before any file is looked at: methods that are about the server, and the path.
  Verdict Begin(RequestState& state);
  /// One pass from `translate` to the answer.
  Verdict Process(RequestState& state);
  /// translate, and the walk to the file's settings.
  Verdict Map(RequestState& state);
  /// headers, access, authenticate, authorize, type, fixup: what a look-up does too.
  Verdict Admit(RequestState& state);
  /// The answer to a request that nobody can judge: a regular expression gave up.
  Verdict Undecided(const RequestState& state);
  Verdict Handle(RequestState& state);
  /// Cuts path_info off the file and looks at what is left. @return Declined, or the status
  Verdict SplitFile(RequestState& state);
  Verdict FindSettings(RequestState& state);
  void NoteTranslation(const RequestState& state);
  void NoteLookUp(const RequestState& found, const Verdict& verdict);
  /// Follows restarts and error documents until there is an answer.
  void Conclude(RequestState& state, Verdict verdict);
  /// @return Restart for an ErrorDocument of this server, otherwise Done with the page in the response
  Verdict Fail(RequestState& state, int status);
  void WriteErrorPage(RequestState& state, int status, int additional);
  void RunEarly(RequestState& state);
  void RunFilters(RequestState& state);
  /// An internal redirect: what was found for the old path is forgotten.
  void ForgetFile(RequestState& state);
  void RunOutput(RequestState& state);
  std::unique_ptr<RequestState> NewLookUp(RequestState& from);

  const Site& site_;
  const net::Scoreboard& board_;
  SectionWalk walk_;
  ErrorLines error_lines_;
  Dependencies* dependencies_ = nullptr;  ///< of the request that is being answered
};

}  // namespace httpd::modules
