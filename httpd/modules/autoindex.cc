// mod_autoindex: listings of directories. Source  httpd 2.4 manual, mod_autoindex
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/autoindex_page.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/static_file.h"

namespace httpd::modules {

namespace {

constexpr size_t kAtOnce = 500;         // entries that are looked at before others have their turn
constexpr size_t kTitleBytes = 8191;    // Apache reads as much to find a <title>
constexpr off_t kMostAround = 1 << 20;  // bytes of a HeaderName or ReadmeName file
constexpr char kDirectoryHandler[] = "httpd/unix-directory";

std::string ReadUpTo(const RequestState& found, size_t most) {
  auto opened = OpenForServing(found.root, found.file, found.settings->options);
  if (!opened || !S_ISREG(opened.value().status.st_mode)) return "";
  std::string text(most, '\0');
  const ssize_t n = ::pread(opened.value().fd.get(), text.data(), text.size(), 0);
  text.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  return text;
}

bool IsHtml(std::string_view type) {
  return http::EqualsIgnoreCase(type, "text/html") || http::EqualsIgnoreCase(type, "application/xhtml+xml");
}

std::string_view WithoutParameters(std::string_view type) {
  return type.substr(0, std::min(type.find_first_of("; "), type.size()));
}

/// The entries of a directory, read in bounded pieces: each is a sorted run, and the runs are merged while they are
/// written. So no step takes longer for a larger directory.
class Listing {
 public:
  /// @param settings  must outlive the listing
  Listing(const AutoindexSettings& settings, IndexView view, os::Fd directory)
      : settings_(settings), view_(std::move(view)), directory_(::fdopendir(directory.get()), ::closedir) {
    if (directory_) static_cast<void>(directory.Release());  // the stream's now
  }

  bool is_open() const { return directory_ != nullptr; }
  const IndexView& view() const { return view_; }
  const IndexWidths& widths() const { return widths_; }

  void AddParent(const RequestState& state) {
    if (state.path == "/") return;
    std::string up = state.file;
    if (!up.ends_with('/')) up += '/';
    up += "..";
    if (settings_.Ignores(up)) return;
    IndexEntry entry;
    entry.is_parent = true;
    const std::string_view path = std::string_view(state.path).substr(0, state.path.size() - 1);
    entry.name = path.substr(0, path.rfind('/') + 1);
    if (view_.options & kIndexFancy) {
      static const std::string kAlt = "PARENTDIR";
      Decorate(up, "", "", true, entry);
      if (!entry.alt) entry.alt = &kAlt;
      if (const std::string* text = settings_.DescriptionOf(up)) entry.description = *text;
    }
    Add({std::move(entry)});
  }

  /// Looks at up to kAtOnce names. @return true when the directory is at its end
  bool Scan(RequestState& state) {
    std::vector<IndexEntry> run;
    for (size_t i = 0; i < kAtOnce; ++i) {
      const dirent* found = ::readdir(directory_.get());
      if (!found) {
        Add(std::move(run));
        Begin();
        return true;
      }
      if (auto entry = Look(state, found->d_name, found->d_type)) run.push_back(std::move(*entry));
    }
    Add(std::move(run));
    return false;
  }

  /// After the last Scan(): the entries in their order; nullptr at the end.
  const IndexEntry* Next() {
    if (heads_.empty()) return nullptr;
    std::pop_heap(heads_.begin(), heads_.end(), After());
    auto& [run, at] = heads_.back();
    const IndexEntry* entry = &runs_[run][at];
    if (++at < runs_[run].size()) {
      std::push_heap(heads_.begin(), heads_.end(), After());
    } else {
      heads_.pop_back();
    }
    return entry;
  }

 private:
  using Head = std::pair<size_t, size_t>;  ///< run, place in it

  std::function<bool(const Head&, const Head&)> After() const {
    return [this](const Head& a, const Head& b) {
      return IndexOrder(view_, runs_[b.first][b.second], runs_[a.first][a.second]);
    };
  }

  void Add(std::vector<IndexEntry> run) {
    if (run.empty()) return;
    for (const IndexEntry& entry : run) widths_.Add(entry);
    std::sort(run.begin(), run.end(),
              [this](const IndexEntry& a, const IndexEntry& b) { return IndexOrder(view_, a, b); });
    runs_.push_back(std::move(run));
  }

  void Begin() {
    for (size_t i = 0; i < runs_.size(); ++i) heads_.emplace_back(i, 0);
    std::make_heap(heads_.begin(), heads_.end(), After());
  }

  /// Icon and alternative text. @param file  without slash at its end
  void Decorate(std::string_view file, std::string_view type, std::string_view encoding, bool is_directory,
                IndexEntry& entry) const {
    entry.icon = AutoindexSettings::Find(settings_.icons, file, type, encoding, is_directory);
    entry.alt = AutoindexSettings::Find(settings_.alts, file, type, encoding, is_directory);
    if (!is_directory) return;
    constexpr char kDirectory[] = "^^DIRECTORY^^";
    if (!entry.icon) entry.icon = AutoindexSettings::Find(settings_.icons, kDirectory, "", "", true);
    if (!entry.alt) entry.alt = AutoindexSettings::Find(settings_.alts, kDirectory, "", "", true);
  }

  std::optional<IndexEntry> Look(RequestState& state, const char* name, unsigned char kind) const {
    if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) return std::nullopt;
    if (view_.pattern && !FitsIndexPattern(*view_.pattern, name)) return std::nullopt;
    std::string file = state.file;
    if (!file.ends_with('/')) file += '/';
    file += name;
    if (settings_.Ignores(file)) return std::nullopt;
    bool is_directory = kind == DT_DIR;
    if (kind != DT_DIR && kind != DT_REG) {
      struct stat link {};
      struct stat target {};
      const int fd = ::dirfd(directory_.get());
      if (::fstatat(fd, name, &link, AT_SYMLINK_NOFOLLOW) != 0 || ::fstatat(fd, name, &target, 0) != 0) {
        return std::nullopt;
      }
      is_directory = S_ISDIR(target.st_mode);
      if (S_ISLNK(link.st_mode)) {
        const unsigned options = state.settings->options;
        const bool may_follow = (options & config::kOptFollowSymLinks) ||
                                ((options & config::kOptSymLinksIfOwnerMatch) && link.st_uid == target.st_uid);
        if (!may_follow) return std::nullopt;
      }
    }
    IndexEntry entry;
    entry.name = name;
    if (is_directory) entry.name += '/';
    const auto found = state.engine->LookUpFile(state, entry.name);
    const bool is_forbidden = found->status == 403 || found->status == 401;
    if (found->status >= 400 && !(is_forbidden && (view_.options & kIndexShowForbidden))) return std::nullopt;
    if (!S_ISDIR(found->info.st_mode) && !S_ISREG(found->info.st_mode)) return std::nullopt;
    if ((view_.options & (kIndexFancy | kIndexTable)) == 0) return entry;
    entry.modified_us = found->info.st_mtim.tv_sec * 1000000L + found->info.st_mtim.tv_nsec / 1000;
    std::string encoding;
    for (const std::string& one : found->encodings) encoding += (encoding.empty() ? "" : ", ") + one;
    const std::string_view type = WithoutParameters(found->media_type);
    Decorate(file, type, encoding, is_directory, entry);
    if (is_directory) {
      static const std::string kAlt = "DIR";
      if (!entry.alt) entry.alt = &kAlt;
      entry.goes_first = (view_.options & kIndexFoldersFirst) != 0;
    } else {
      entry.size = found->info.st_size;
    }
    if (const std::string* text = settings_.DescriptionOf(file)) {
      entry.description = *text;
    } else if ((view_.options & kIndexScanTitles) && found->status == 200 && IsHtml(type) && encoding.empty() &&
               S_ISREG(found->info.st_mode)) {
      entry.description = HtmlTitle(ReadUpTo(*found, kTitleBytes));
    }
    return entry;
  }

  const AutoindexSettings& settings_;
  const IndexView view_;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory_;
  std::vector<std::vector<IndexEntry>> runs_;
  std::vector<Head> heads_;
  IndexWidths widths_;
};

/// What stands around the table.
struct Around {
  std::string before, after;
};

/// A HeaderName or ReadmeName file that may be shown; nullopt: there is none.
struct AroundFile {
  bool is_html = false;
  std::string text;
};

std::optional<AroundFile> FindAround(RequestState& state, const std::string& name) {
  if (name.empty()) return std::nullopt;
  const auto found = state.engine->LookUp(state, name);
  if (found->status != 200 || !S_ISREG(found->info.st_mode) || found->info.st_size > kMostAround) return std::nullopt;
  const std::string type(WithoutParameters(found->media_type));
  AroundFile out;
  out.is_html = IsHtml(type);
  if (!out.is_html && !http::EqualsIgnoreCase(std::string_view(type).substr(0, 5), "text/")) return std::nullopt;
  if (!found->handler.empty()) return std::nullopt;  // the output of a program is not put into a page
  out.text = ReadUpTo(*found, static_cast<size_t>(kMostAround));
  return out;
}

Around MakeAround(RequestState& state, const AutoindexSettings& settings, const IndexView& view,
                  const IndexPage& page) {
  Around out;
  const bool no_preamble = (view.options & kIndexNoPreamble) != 0;
  const auto header = FindAround(state, settings.header);
  if (!header || !header->is_html || !no_preamble) page.Preamble(out.before);
  if (!header) {
    page.Heading(out.before);
  } else if (header->is_html) {
    out.before += header->text;
  } else {
    AppendPlain(header->text, out.before);
  }
  const auto readme = FindAround(state, settings.readme);
  if (!readme) {
    out.after += state.engine->Signature(state);
  } else if (readme->is_html) {
    out.after += readme->text;
  } else {
    AppendPlain(readme->text, out.after);
  }
  if (!readme || !readme->is_html || !no_preamble) out.after += "</body></html>\n";
  return out;
}

/// A listing of so many entries that they are looked at between other connections' turns. It keeps what look-ups need
/// of the request, because the request's own buffer is gone by then.
class ListingSource final : public net::BodySource {
 public:
  ListingSource(const RequestState& state, std::shared_ptr<const AutoindexSettings> settings,
                std::unique_ptr<Listing> listing, Around around)
      : settings_(std::move(settings)),
        listing_(std::move(listing)),
        page_(*settings_, listing_->view(), state.path),
        around_(std::move(around)),
        client_(state.request->client_address),
        request_(*state.request) {
    request_.client_address = client_;
    head_text_.append(state.head().line).append("\r\n");
    for (const http::HeaderField& field : state.head().fields) {
      head_text_.append(field.name).append(": ").append(field.value).append("\r\n");
    }
    head_text_ += "\r\n";
    const http::HeadLimits limits{head_text_.size(), 0, head_text_.size()};
    is_good_ = http::ParseRequestHead(head_text_, limits, head_).state == http::ParseResult::State::kComplete;
    request_.head = &head_;
    state_.Start(state.engine, request_, *state.host, response_);
    state_.host_index = state.host_index;
    state_.user_agent_address = state.user_agent_address;
    state_.settings_owner = state.settings_owner;
    state_.settings = state.settings;
    state_.path = state.path;
    state_.file = state.file;
    state_.root = state.root;
    state_.url_root = state.url_root;
    state_.info = state.info;
    state_.user = state.user;
    state_.auth_type = state.auth_type;
    state_.is_admitted = state.is_admitted;
    state_.environment = state.environment;
    state_.notes = state.notes;
  }

  /// False: the request cannot be kept (a module has put something into it that no client could send).
  bool is_good() const { return is_good_; }

  State Read(std::string& out, size_t most) override {
    out += std::exchange(around_.before, {});
    if (is_scanning_) {
      if (!listing_->Scan(state_)) return State::kMore;
      is_scanning_ = false;
      page_.TableHead(listing_->widths(), out);
    }
    const size_t enough = out.size() + most;
    while (out.size() < enough) {
      const IndexEntry* entry = listing_->Next();
      if (!entry) {
        page_.TableFoot(out);
        out += around_.after;
        return State::kEnd;
      }
      page_.Row(row_++, *entry, out);
    }
    return State::kMore;
  }

 private:
  std::shared_ptr<const AutoindexSettings> settings_;
  std::unique_ptr<Listing> listing_;
  IndexPage page_;
  Around around_;
  std::string client_;
  std::string head_text_;
  http::RequestHead head_;
  net::Request request_;
  net::Response response_;
  RequestState state_;
  bool is_good_ = false;
  bool is_scanning_ = true;
  size_t row_ = 0;
};

Verdict Handle(RequestState& state) {
  if (!S_ISDIR(state.info.st_mode) || (!state.handler.empty() && state.handler != kDirectoryHandler)) {
    return Verdict::Declined();
  }
  const http::Method method = state.head().method;
  if (method != http::Method::kGet && method != http::Method::kHead) return Verdict::Declined();
  auto log = [&](const std::string& text) {
    state.engine->LogError(state, config::LogLevel::kError, "autoindex", text);
    return Verdict::Status(403);
  };
  if ((state.settings->options & config::kOptIndexes) == 0) {
    const auto names = state.notes.find("dir-index-names");
    return log("AH01276: Cannot serve directory " + state.file + ": No matching DirectoryIndex (" +
               (names == state.notes.end() ? "none" : names->second) +
               ") found, and server-generated directory index forbidden by Options directive");
  }
  auto opened = OpenForServing(state.root, state.file, state.settings->options);
  const auto cannot_open = [&](int sys) {
    return log("(" + std::to_string(sys) + ")" + std::strerror(sys) +
               ": AH01275: Can't open directory for index: " + state.file);
  };
  if (!opened) return cannot_open(opened.error().sys == 0 ? EACCES : opened.error().sys);

  const auto* said = SettingsFor<AutoindexSettings>(state);
  static const auto kNothingSaid = std::make_shared<const AutoindexSettings>();
  // The settings of the file hold those of the module: one owner is enough for as long as an answer takes.
  std::shared_ptr<const AutoindexSettings> settings =
      said ? std::shared_ptr<const AutoindexSettings>(state.settings_owner, said) : kNothingSaid;
  net::Response& response = *state.response;
  const IndexView view = MakeIndexView(*settings, state.has_query ? std::string_view(state.query) : "");
  const std::string charset = settings->charset.value_or("ISO-8859-1");
  AppendField(response.fields, "Content-Type",
              (settings->type.empty() ? "text/html" : settings->type) + (charset.empty() ? "" : ";charset=" + charset));
  if (view.options & kIndexTrackModified) {
    const struct stat& info = state.info;
    AppendField(response.fields, "Last-Modified", http::FormatDate(info.st_mtim.tv_sec));
    AppendField(response.fields, "ETag", EtagOf(info, kEtagMtime | kEtagSize, state.request->start));
  }
  state.handler = kDirectoryHandler;
  state.is_success = true;
  if (method == http::Method::kHead) {  // nobody would see what is made at some cost
    response.without_body = true;
    response.without_length = true;
    return Verdict::Done();
  }
  auto listing = std::make_unique<Listing>(*settings, view, std::move(opened.value().fd));
  if (!listing->is_open()) return cannot_open(errno);
  IndexPage page(*settings, listing->view(), state.path);
  Around around = MakeAround(state, *settings, view, page);
  listing->AddParent(state);
  bool is_complete = listing->Scan(state);
  if (!is_complete) {
    auto source = std::make_unique<ListingSource>(state, settings, std::move(listing), std::move(around));
    if (!source->is_good()) return Verdict::Status(500);
    response.source = std::move(source);
    return Verdict::Done();
  }
  response.body = std::move(around.before);
  page.TableHead(listing->widths(), response.body);
  size_t row = 0;
  while (const IndexEntry* entry = listing->Next()) page.Row(row++, *entry, response.body);
  page.TableFoot(response.body);
  response.body += around.after;
  return Verdict::Done();
}

}  // namespace

const Module kAutoindex = {.name = {"mod_autoindex.c", "autoindex_module"},
                           .directives = AutoindexDirectives,
                           .always = true,
                           .handle = Handle,
                           .repeats = DependsOnNothing};

}  // namespace httpd::modules
