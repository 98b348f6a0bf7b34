#include "httpd/modules/autoindex.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "httpd/config/server_config.h"
#include "httpd/http/values.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

os::Result<std::vector<IndexEntry>> ListForIndex(OpenedFile directory, unsigned options,
                                                 const std::function<bool(const std::string& name)>& is_visible) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(directory.fd.get()), ::closedir);
  if (!stream) {
    const int sys = errno;
    return os::SysError(sys, "read a directory");
  }
  const int fd = directory.fd.Release();  // the stream's now
  std::vector<IndexEntry> out;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name.starts_with(".")) continue;
    struct stat link {};
    struct stat target {};
    if (::fstatat(fd, name.c_str(), &link, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (::fstatat(fd, name.c_str(), &target, 0) != 0) continue;
    if (S_ISLNK(link.st_mode) && (options & config::kOptFollowSymLinks) == 0 &&
        ((options & config::kOptSymLinksIfOwnerMatch) == 0 || link.st_uid != target.st_uid)) {
      continue;
    }
    if (is_visible(name)) out.push_back({name, S_ISDIR(target.st_mode)});
  }
  std::sort(out.begin(), out.end(), [](const IndexEntry& a, const IndexEntry& b) { return a.name < b.name; });
  return out;
}

std::string RenderIndex(const std::string& path, const std::vector<IndexEntry>& entries, const std::string& signature) {
  std::string title = path;
  while (title.size() > 1 && title.back() == '/') title.pop_back();
  const std::string shown = http::EscapeHtml(title);
  std::string out = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<html>\n <head>\n  <title>Index of " +
                    shown + "</title>\n </head>\n <body>\n<h1>Index of " + shown + "</h1>\n<ul>";
  auto add = [&out](const std::string& link, const std::string& text) {
    out += "<li><a href=\"" + http::EscapeHtml(link) + "\"> " + http::EscapeHtml(text) + "</a></li>\n";
  };
  if (title != "/") add(http::EscapePath(title.substr(0, title.rfind('/') + 1)), "Parent Directory");
  for (const IndexEntry& entry : entries) {
    const std::string name = entry.is_directory ? entry.name + "/" : entry.name;
    add(http::EscapePath(name), name);
  }
  out += "</ul>\n" + signature + "</body></html>\n";
  return out;
}

namespace {

Verdict Handle(RequestState& state) {
  const http::Method method = state.head().method;
  if (!S_ISDIR(state.info.st_mode) || !state.handler.empty()) return Verdict::Declined();
  if (method != http::Method::kGet && method != http::Method::kHead) return Verdict::Declined();
  const Effective& settings = *state.settings;
  auto log = [&](const std::string& text) {
    state.engine->LogError(state, config::LogLevel::kError, "autoindex", text);
  };
  if ((settings.options & config::kOptIndexes) == 0) {
    log("AH01276: Cannot serve directory " + state.file + ": No matching DirectoryIndex found");
    return Verdict::Status(403);
  }
  auto opened = OpenForServing(state.root, state.file, settings.options);
  if (!opened) {
    log("AH01275: Can't open directory for index: " + state.file + ": " + opened.error().Text());
    return Verdict::Status(403);
  }
  auto entries = ListForIndex(std::move(opened).value(), settings.options, [&](const std::string& name) {
    return state.engine->LookUpFile(state, name)->status == 200;
  });
  if (!entries) {
    log("AH01275: Can't open directory for index: " + state.file + ": " + entries.error().Text());
    return Verdict::Status(403);
  }
  state.response->fields += "Content-Type: text/html;charset=UTF-8\r\n";
  state.response->body = RenderIndex(state.path, entries.value(), state.engine->Signature(state));
  state.handler = "httpd/unix-directory";
  state.is_success = true;
  return Verdict::Done();
}

}  // namespace

const Module kAutoindex = {.name = {"mod_autoindex.c", "autoindex_module"}, .always = true, .handle = Handle};

}  // namespace httpd::modules
