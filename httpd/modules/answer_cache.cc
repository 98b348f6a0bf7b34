#include "httpd/modules/answer_cache.h"

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>

#include "httpd/http/ascii.h"
#include "httpd/modules/module.h"
#include "httpd/modules/stat_file.h"

namespace httpd::modules {

namespace {

using http::Known;

constexpr size_t kMostBodyBytes = 16U << 20;
constexpr size_t kMostFiles = 256;
constexpr size_t kShareOfDescriptors = 32;  // of all that the process may have; there are up to 16 loops in it
constexpr size_t kMostTarget = 1024;        // a longer one is somebody's search, not a file that many ask for
constexpr int64_t kUnusedSeconds = 10;
constexpr int64_t kSettledSeconds = 2;  // file systems count time in steps of up to 10 ms, some in seconds
constexpr std::array kConditions = {Known::kIfMatch, Known::kIfNoneMatch, Known::kIfModifiedSince,
                                    Known::kIfUnmodifiedSince};

bool IsUnchanged(const SeenFile& seen) {
  struct stat now {};
  if (::stat(seen.path.c_str(), &now) != 0) return seen.info.st_mode == 0;
  return IsSameFile(seen.info, now);
}

size_t MostFiles() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  return std::min<size_t>(kMostFiles, static_cast<size_t>(limit.rlim_cur) / kShareOfDescriptors);
}

int64_t CoarseSecond() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec;
}

int64_t SecondOf(const RequestState& state) {
  return std::chrono::duration_cast<std::chrono::seconds>(state.request->start.time_since_epoch()).count();
}

/// A request whose answer may be kept, or be one that was kept.
bool IsPlain(const RequestState& state) {
  const http::RequestHead& head = *state.request->head;
  return (head.method == http::Method::kGet || head.method == http::Method::kHead) && head.minor <= 1 &&
         !head.content_length && !head.chunked && !head.expect_continue && !head.Has(Known::kRange) &&
         !head.Has(Known::kAuthorization) && !head.Has(Known::kUpgrade) && head.target.size() <= kMostTarget &&
         head.repeated == 0 && !state.request->is_private;
}

/// The only field of that name; data() == nullptr: there is none. nullopt: there are several.
std::optional<std::string_view> OnlyValue(const http::RequestHead& head, std::string_view name) {
  std::string_view value;
  for (const http::HeaderField& field : head.fields) {
    if (!http::EqualsIgnoreCase(field.name, name)) continue;
    if (value.data() != nullptr) return std::nullopt;
    value = field.value;
  }
  return value;
}

}  // namespace

void Dependencies::OnField(std::string_view name) {
  for (const std::string& known : fields_) {
    if (http::EqualsIgnoreCase(known, name)) return;
  }
  fields_.emplace_back(name);
}

void Dependencies::OnFile(std::string_view path, const struct stat* info) {
  if (on_more_) return;
  SeenFile& seen = files_.emplace_back();
  seen.path = path;
  if (info) seen.info = *info;
}

void Dependencies::Clear() {
  on_more_ = false;
  on_address_ = false;
  on_time_ = false;
  fields_.clear();
  files_.clear();
}

struct AnswerCache::Answer {
  std::string key;
  std::vector<std::pair<std::string, std::optional<std::string>>> on_fields;
  std::optional<std::string> on_address;
  std::array<std::optional<std::string>, kConditions.size()> conditions;
  std::vector<SeenFile> on_files;
  bool on_time = false;
  int64_t checked = 0;  ///< second in which the files were as they had been
  int64_t used = 0;     ///< second_

  int status = 200;
  std::string fields;
  std::string body;
  std::shared_ptr<const os::Fd> file;
  uint64_t content_length = 0;  ///< of `file`, or for HEAD
  bool without_body = false;
  bool without_length = false;
  bool use_sendfile = true;
  bool close = false;

  // What logs may ask for.
  std::shared_ptr<const Effective> settings;
  std::string path;
  std::string query;
  bool has_query = false;
  std::string file_name;
  std::string handler;
  struct stat info {};
  Environment environment;
  std::map<std::string, std::string> notes;
};

AnswerCache::AnswerCache(size_t most) : most_(most), most_files_(MostFiles()) {}
AnswerCache::~AnswerCache() = default;

void AnswerCache::MakeKey(const RequestState& state) {
  const net::Request& request = *state.request;
  key_.clear();
  key_ += request.head->method == http::Method::kHead ? 'h' : 'g';
  if (request.is_tls) key_ += 's';
  key_ += request.head->major == 2 ? '2' : static_cast<char>('0' + request.head->minor);
  key_.append(reinterpret_cast<const char*>(&state.host_index), sizeof state.host_index);
  key_.append(reinterpret_cast<const char*>(&request.local_port), sizeof request.local_port);
  key_.append(request.head->target);
  key_ += ' ';
  key_.append(request.head->authority);
}

bool AnswerCache::Fits(const Answer& answer, const RequestState& state) {
  const http::RequestHead& head = *state.request->head;
  const auto same = [](std::string_view sent, const std::optional<std::string>& kept) {
    return kept ? sent.data() != nullptr && sent == *kept : sent.data() == nullptr;
  };
  for (size_t i = 0; i < kConditions.size(); ++i) {
    if (!same(head.Get(kConditions[i]), answer.conditions[i])) return false;
  }
  for (const auto& [name, value] : answer.on_fields) {
    const auto sent = OnlyValue(head, name);
    if (!sent || !same(*sent, value)) return false;
  }
  return !answer.on_address || *answer.on_address == state.request->client_address;
}

bool AnswerCache::IsCurrent(Answer& answer, int64_t second) {
  if (answer.checked != second) {
    if (answer.on_time || !std::all_of(answer.on_files.begin(), answer.on_files.end(), IsUnchanged)) return false;
    answer.checked = second;
  }
  if (!answer.file) return true;
  // Its bytes are sent as they are now: they must be those that the fields are about.
  struct stat now {};
  return ::fstat(answer.file->get(), &now) == 0 && IsSameFile(now, answer.info);
}

bool AnswerCache::Give(RequestState& state) {
  if (answers_.empty() || !IsPlain(state)) return false;
  MakeKey(state);
  const auto [first, last] = by_key_.equal_range(key_);
  const auto found = std::find_if(first, last, [&state](const auto& kept) { return Fits(*kept.second, state); });
  if (found == last) return false;
  Answer& answer = *found->second;
  if (!IsCurrent(answer, SecondOf(state))) {
    Drop(found->second);
    return false;
  }
  answers_.splice(answers_.begin(), answers_, found->second);
  answer.used = second_;
  ++given_;

  net::Response& response = *state.response;
  response.status = answer.status;
  response.fields += answer.fields;
  response.without_body = answer.without_body;
  response.without_length = answer.without_length;
  response.close = response.close || answer.close;
  if (answer.file) {
    response.shared_file = answer.file;
    response.parts.push_back({"", 0, answer.content_length});
    response.use_sendfile = answer.use_sendfile;
  } else {
    response.content_length = answer.content_length;
    response.lent_body = answer.body;
  }
  state.settings_owner = answer.settings;
  state.settings = answer.settings.get();
  state.path = answer.path;
  state.query = answer.query;
  state.has_query = answer.has_query;
  state.file = answer.file_name;
  state.handler = answer.handler;
  state.info = answer.info;
  if (answer.environment.size() > 0) state.environment = answer.environment;
  if (!answer.notes.empty()) state.notes = answer.notes;
  state.is_admitted = true;
  state.is_success = true;
  return true;
}

Dependencies* AnswerCache::Watch(const RequestState& state) {
  if (most_ == 0 || !IsPlain(state)) return nullptr;
  on_.Clear();
  return &on_;
}

void AnswerCache::Keep(RequestState& state) {
  net::Response& response = *state.response;
  const bool is_whole = response.parts.empty() || (response.parts.size() == 1 && response.parts[0].text.empty());
  if (!state.is_from_file || !state.settings || (response.status != 200 && response.status != 304) || response.source ||
      response.sink || response.deferred || response.rate_limit != 0 || !is_whole || state.redirects > 0 ||
      state.error_status != 0 || state.gave_up || state.is_edited() || state.is_noted || !state.user.empty() ||
      !state.settings->conditional.empty()) {
    return;
  }
  NoteParts(state.host->hooks, state, on_);
  NoteParts(state.settings->hooks, state, on_);
  if (on_.on_more_) return;
  const http::RequestHead& head = *state.request->head;
  const int64_t second = SecondOf(state);
  Answer made;
  made.checked = second;
  made.used = second_ = CoarseSecond();
  made.on_time = on_.on_time_ || (state.settings->options & config::kOptFollowSymLinks) == 0;
  for (const SeenFile& seen : on_.files_) {
    if (second - seen.info.st_mtim.tv_sec < kSettledSeconds || second - seen.info.st_ctim.tv_sec < kSettledSeconds) {
      made.on_time = true;
    }
  }
  for (std::string& name : on_.fields_) {
    const auto value = OnlyValue(head, name);
    if (!value) return;
    made.on_fields.emplace_back(std::move(name), std::nullopt);
    if (value->data() != nullptr) made.on_fields.back().second = *value;
  }
  if (on_.on_address_) made.on_address = std::string(state.request->client_address);
  for (size_t i = 0; i < kConditions.size(); ++i) {
    if (head.Has(kConditions[i])) made.conditions[i] = head.Get(kConditions[i]);
  }
  if (response.file.valid()) {
    if (most_files_ == 0) return;
    if (files_ >= most_files_) {
      const auto oldest = std::find_if(answers_.rbegin(), answers_.rend(), [](const Answer& a) { return a.file; });
      Drop(std::prev(oldest.base()));
    }
    made.file = response.shared_file = std::make_shared<const os::Fd>(std::move(response.file));
    made.content_length = response.parts.empty() ? 0 : response.parts[0].length;
    ++files_;
  } else {
    made.body = response.body;
    made.content_length = response.content_length;
  }
  made.on_files = std::move(on_.files_);
  made.status = response.status;
  made.fields = response.fields;
  made.without_body = response.without_body;
  made.without_length = response.without_length;
  made.use_sendfile = response.use_sendfile;
  made.close = response.close;
  made.settings = state.settings_owner;
  made.path = state.path;
  made.query = state.query;
  made.has_query = state.has_query;
  made.file_name = state.file;
  made.handler = state.handler;
  made.info = state.info;
  made.environment = state.environment;
  made.notes = state.notes;

  body_bytes_ += made.body.size();
  while (!answers_.empty() && (answers_.size() >= most_ || body_bytes_ > kMostBodyBytes))
    Drop(std::prev(answers_.end()));
  MakeKey(state);
  made.key = key_;
  answers_.push_front(std::move(made));
  by_key_.emplace(answers_.front().key, answers_.begin());
}

void AnswerCache::Drop(List::iterator answer) {
  const auto [first, last] = by_key_.equal_range(answer->key);
  by_key_.erase(std::find_if(first, last, [answer](const auto& kept) { return kept.second == answer; }));
  body_bytes_ -= answer->body.size();
  if (answer->file) --files_;
  answers_.erase(answer);
}

void AnswerCache::EndTurn() {
  if (answers_.empty()) return;
  const int64_t now = CoarseSecond();
  if (now == second_) return;
  second_ = now;
  while (!answers_.empty() && answers_.back().used + kUnusedSeconds < second_) Drop(std::prev(answers_.end()));
}

}  // namespace httpd::modules
