#include "httpd/modules/static_file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cctype>
#include <climits>

#include "httpd/http/values.h"
#include "os/file.h"

namespace httpd::modules {

namespace {

constexpr size_t kReadInsteadOfSendfile = 16U << 10;  // below this one read + one send is cheaper than send + sendfile
constexpr size_t kMaxRanges = 200;
constexpr int kServeFlags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;  // a FIFO must not hang the loop

os::Result<os::Fd> OpenWithoutLinks(const std::string& root, const std::string& file) {
  if (file == root) return os::Open(file, kServeFlags);  // an Alias of one file; who wrote it may name a link
  auto directory = os::Open(root, O_PATH | O_DIRECTORY);
  if (!directory) return directory.error();
  std::string rest = file.substr(root.size());
  rest.erase(0, std::min(rest.find_first_not_of('/'), rest.size()));
  if (rest.empty()) rest = ".";
  open_how how{};
  how.flags = kServeFlags;
  how.resolve = RESOLVE_NO_SYMLINKS;
  const int raw = static_cast<int>(::syscall(SYS_openat2, directory.value().get(), rest.c_str(), &how, sizeof how));
  if (raw < 0) {
    const int sys = errno;
    return os::SysError(sys, "open " + file);
  }
  return os::Fd(raw);
}

/// Follows links that belong to the owner of what they point to; kDenied: another one is on the way. What was judged
/// is what is opened: every step is held by its descriptor, so links may change meanwhile.
os::Result<os::Fd> OpenThroughOwnedLinks(const std::string& root, const std::string& file) {
  auto at = os::Open(root, O_PATH | O_DIRECTORY);
  if (!at) return at.error();
  os::Fd here = std::move(at).value();
  const auto step = [&here](const std::string& name, int more) {
    return os::Fd(::openat(here.get(), name.c_str(), O_PATH | O_CLOEXEC | more));
  };
  for (size_t begin = root.size(); begin < file.size();) {
    const size_t end = std::min(file.find('/', begin), file.size());
    const std::string name = file.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty()) continue;
    struct stat own {};
    os::Fd next = step(name, O_NOFOLLOW);
    if (!next.valid() || ::fstat(next.get(), &own) != 0) return os::SysError(errno, "open " + file);
    if (S_ISLNK(own.st_mode)) {
      std::string target(static_cast<size_t>(PATH_MAX), '\0');
      const ssize_t length = ::readlinkat(next.get(), "", target.data(), target.size());
      target.resize(static_cast<size_t>(std::max<ssize_t>(length, 0)));
      struct stat there {};
      next = step(target, 0);
      if (!next.valid() || ::fstat(next.get(), &there) != 0 || there.st_uid != own.st_uid) {
        return os::Error{os::ErrorKind::kDenied, ELOOP, "open " + file};
      }
    }
    here = std::move(next);
  }
  return os::Open("/proc/self/fd/" + std::to_string(here.get()), kServeFlags);
}

}  // namespace

os::Result<OpenedFile> OpenForServing(const std::string& root, const std::string& file, unsigned options) {
  os::Result<os::Fd> fd = os::Fd();
  if ((options & config::kOptFollowSymLinks) != 0) {
    fd = os::Open(file, kServeFlags);
  } else {
    fd = OpenWithoutLinks(root, file);
    if (!fd && fd.error().sys == ELOOP) {
      if ((options & config::kOptSymLinksIfOwnerMatch) != 0) fd = OpenThroughOwnedLinks(root, file);
      if (!fd && fd.error().sys == ELOOP) {
        return os::Error{os::ErrorKind::kDenied, 0,
                         "AH00037: Symbolic link not allowed or link target not accessible: " + file};
      }
    }
  }
  if (!fd) return fd.error();
  OpenedFile out;
  out.fd = std::move(fd).value();
  if (::fstat(out.fd.get(), &out.status) != 0) {
    const int sys = errno;
    return os::SysError(sys, "stat " + file);
  }
  return out;
}

std::string MediaType(const Site& site, const Effective& settings, std::string_view file_name) {
  std::string type = settings.force_type;
  if (type.empty() && !settings.types.empty()) {
    const size_t dot = file_name.rfind('.');
    if (dot != std::string_view::npos) {
      std::string extension(file_name.substr(dot + 1));
      for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      const auto found = settings.types.find(extension);
      if (found != settings.types.end()) type = found->second;
    }
  }
  if (type.empty()) type = site.types().Find(file_name);
  if (!settings.default_charset.empty() && (type == "text/plain" || type == "text/html")) {
    type += "; charset=" + settings.default_charset;
  }
  return type;
}

void ServeOpenedFile(const net::Request& request, OpenedFile file, const std::string& media_type, bool use_sendfile,
                     bool whole, const std::string& etag_suffix, bool ignore_ranges, net::Response& response) {
  const http::RequestHead& head = *request.head;
  const auto size = static_cast<uint64_t>(file.status.st_size);
  const std::time_t modified = file.status.st_mtim.tv_sec;
  std::string etag =
      http::MakeEtag(size, static_cast<int64_t>(modified) * 1000000 + file.status.st_mtim.tv_nsec / 1000);
  etag.insert(etag.size() - 1, etag_suffix);
  response.fields += "Last-Modified: " + http::FormatDate(modified) + "\r\nETag: " + etag + "\r\n";

  switch (whole ? http::Precondition::kProceed : http::CheckPreconditions(head, etag, modified)) {
    case http::Precondition::kNotModified:
      response.status = 304;
      response.without_body = true;
      response.without_length = true;
      return;
    case http::Precondition::kFailed:
      response.status = 412;
      return;
    case http::Precondition::kProceed:
      break;
  }
  response.fields += "Accept-Ranges: bytes\r\n";
  std::optional<std::vector<http::ByteRange>> ranges;
  if (!whole && !ignore_ranges && head.Has(http::Known::kRange) &&
      (head.method == http::Method::kGet || head.method == http::Method::kHead) &&
      http::IfRangeHolds(head, etag, modified, std::chrono::system_clock::to_time_t(request.start))) {
    ranges = http::ParseRanges(head.Get(http::Known::kRange), size, kMaxRanges);
  }
  if (ranges && ranges->empty()) {
    response.status = 416;
    response.fields += "Content-Range: bytes */" + std::to_string(size) + "\r\n";
    return;
  }
  const std::string type_line = media_type.empty() ? "" : "Content-Type: " + media_type + "\r\n";
  auto range_text = [size](const http::ByteRange& range) {
    return "bytes " + std::to_string(range.first) + "-" + std::to_string(range.last) + "/" + std::to_string(size);
  };
  if (!ranges) {
    response.fields += type_line;
    response.parts.push_back({"", 0, size});
  } else if (ranges->size() == 1) {
    const http::ByteRange& range = ranges->front();
    response.status = 206;
    response.fields += type_line + "Content-Range: " + range_text(range) + "\r\n";
    response.parts.push_back({"", range.first, range.last - range.first + 1});
  } else {
    const std::string boundary = "baton-" + etag.substr(1, etag.size() - 2) + "-part";
    response.status = 206;
    response.fields += "Content-Type: multipart/byteranges; boundary=" + boundary + "\r\n";
    for (const http::ByteRange& range : *ranges) {
      response.parts.push_back(
          {"\r\n--" + boundary + "\r\n" + type_line + "Content-Range: " + range_text(range) + "\r\n\r\n", range.first,
           range.last - range.first + 1});
    }
    response.parts.push_back({"\r\n--" + boundary + "--\r\n", 0, 0});
  }
  if (head.method == http::Method::kHead) {
    for (const auto& part : response.parts) response.content_length += part.text.size() + part.length;
    response.without_body = true;
    response.parts.clear();
    return;
  }
  if (response.parts.size() == 1 && response.parts[0].text.empty() &&
      response.parts[0].length <= kReadInsteadOfSendfile) {
    const uint64_t length = response.parts[0].length;
    response.body.resize(length);
    size_t done = 0;
    while (done < length) {
      const ssize_t n = ::pread(file.fd.get(), response.body.data() + done, length - done,
                                static_cast<off_t>(response.parts[0].offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    if (done == length) {
      response.parts.clear();
      return;
    }
    response.body.clear();  // it is shrinking under us: the file path notices and closes
  }
  response.use_sendfile = use_sendfile;
  response.file = std::move(file.fd);
}

}  // namespace httpd::modules
