#include "httpd/modules/static_file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "httpd/modules/module.h"
#include "os/file.h"

namespace httpd::modules {

namespace {

constexpr size_t kReadInsteadOfSendfile = 16U << 10;  // below this one read + one send is cheaper than send + sendfile
constexpr int kServeFlags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;  // a FIFO must not hang the loop
constexpr int kLookFlags = O_PATH | O_CLOEXEC;
constexpr size_t kMostDigested = 16U << 20;
constexpr size_t kMostRemembered = 256;

os::Error LinkRefused(const std::string& file) {
  return os::Error{os::ErrorKind::kDenied, 0,
                   "AH00037: Symbolic link not allowed or link target not accessible: " + file};
}

os::Error Failed(const std::string& file) {
  const int sys = errno;
  return os::SysError(sys, "open " + file);
}

/// What of `file` is below `root`.
std::string Below(const std::string& root, const std::string& file) {
  std::string rest = file.substr(root.size());
  rest.erase(0, std::min(rest.find_first_not_of('/'), rest.size()));
  return rest.empty() ? "." : rest;
}

os::Result<os::Fd> OpenWithoutLinks(const os::Fd& root, const std::string& rest, const std::string& file) {
  open_how how{};
  how.flags = kServeFlags;
  how.resolve = RESOLVE_NO_SYMLINKS;
  const int raw = static_cast<int>(::syscall(SYS_openat2, root.get(), rest.c_str(), &how, sizeof how));
  if (raw < 0) return Failed(file);
  return os::Fd(raw);
}

/// What `name` in `directory` leads to, opened with `flags`; a link must be of the owner of its target. A link's text
/// never changes, so what is judged is what is opened.
os::Result<os::Fd> StepTo(const os::Fd& directory, const std::string& name, int flags, const std::string& file) {
  os::Fd entry(::openat(directory.get(), name.c_str(), kLookFlags | O_NOFOLLOW));
  struct stat status {};
  if (!entry.valid() || ::fstat(entry.get(), &status) != 0) return Failed(file);
  if (!S_ISLNK(status.st_mode)) {
    if (flags == kLookFlags) return entry;
    os::Fd opened(::openat(directory.get(), name.c_str(), flags | O_NOFOLLOW));
    if (!opened.valid()) {
      if (errno == ELOOP) return LinkRefused(file);  // it has become a link since
      return Failed(file);
    }
    return opened;
  }
  std::array<char, PATH_MAX> text{};
  const ssize_t length = ::readlinkat(entry.get(), "", text.data(), text.size());
  if (length <= 0 || static_cast<size_t>(length) >= text.size()) return LinkRefused(file);
  const std::string target(text.data(), static_cast<size_t>(length));
  os::Fd seen(::openat(directory.get(), target.c_str(), kLookFlags));
  struct stat target_status {};
  if (!seen.valid() || ::fstat(seen.get(), &target_status) != 0 || target_status.st_uid != status.st_uid) {
    return LinkRefused(file);
  }
  if (flags == kLookFlags) return seen;
  os::Fd opened(::openat(directory.get(), target.c_str(), flags));
  if (!opened.valid()) return Failed(file);
  struct stat opened_status {};
  if (::fstat(opened.get(), &opened_status) != 0 || opened_status.st_uid != status.st_uid) return LinkRefused(file);
  return opened;
}

os::Result<os::Fd> OpenWithOwnersLinks(os::Fd directory, const std::string& rest, const std::string& file) {
  for (size_t at = 0;;) {
    const size_t end = std::min(rest.find('/', at), rest.size());
    const std::string name = rest.substr(at, end - at);
    if (name == "..") return LinkRefused(file);
    const size_t next = std::min(rest.find_first_not_of('/', end), rest.size());
    const bool is_last = next == rest.size();
    auto step = StepTo(directory, name, is_last ? kServeFlags : kLookFlags, file);
    if (!step || is_last) return step;
    directory = std::move(step).value();
    at = next;
  }
}

os::Result<os::Fd> OpenBelow(const std::string& root, const std::string& file, unsigned options) {
  if (file == root) return os::Open(file, kServeFlags);  // an Alias of one file; who wrote it may name a link
  const std::string base = file.starts_with(root) ? root : "/";
  auto directory = os::Open(base, O_PATH | O_DIRECTORY);
  if (!directory) return directory.error();
  const std::string rest = Below(base, file);
  auto fd = OpenWithoutLinks(directory.value(), rest, file);
  if (fd || fd.error().sys != ELOOP) return fd;
  if ((options & config::kOptSymLinksIfOwnerMatch) == 0) return LinkRefused(file);
  return OpenWithOwnersLinks(std::move(directory).value(), rest, file);
}

std::string Base64(const unsigned char* bytes, size_t size) {
  std::string out(4 * ((size + 2) / 3) + 1, '\0');
  out.resize(static_cast<size_t>(
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes, static_cast<int>(size))));
  return out;
}

std::optional<FileDigests> Digest(const OpenedFile& file) {
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  const std::unique_ptr<EVP_MD_CTX, Free> sha1(EVP_MD_CTX_new());
  const std::unique_ptr<EVP_MD_CTX, Free> md5(EVP_MD_CTX_new());
  if (!sha1 || !md5 || EVP_DigestInit_ex(sha1.get(), EVP_sha1(), nullptr) != 1 ||
      EVP_DigestInit_ex(md5.get(), EVP_md5(), nullptr) != 1) {
    return std::nullopt;
  }
  std::vector<unsigned char> piece(64U << 10);
  for (off_t at = 0; at < file.status.st_size;) {
    const ssize_t got = ::pread(file.fd.get(), piece.data(), piece.size(), at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    EVP_DigestUpdate(sha1.get(), piece.data(), static_cast<size_t>(got));
    EVP_DigestUpdate(md5.get(), piece.data(), static_cast<size_t>(got));
    at += got;
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  FileDigests out;
  EVP_DigestFinal_ex(sha1.get(), bytes.data(), &size);
  out.sha1 = Base64(bytes.data(), size);
  EVP_DigestFinal_ex(md5.get(), bytes.data(), &size);
  out.md5 = Base64(bytes.data(), size);
  return out;
}

void AddRanges(const std::vector<http::ByteRange>& ranges, const struct stat& status, const std::string& type_line,
               net::Response& response) {
  const auto size = static_cast<uint64_t>(status.st_size);
  const auto range_text = [size](const http::ByteRange& range) {
    return "bytes " + std::to_string(range.first) + "-" + std::to_string(range.last) + "/" + std::to_string(size);
  };
  response.status = 206;
  if (ranges.size() == 1) {
    const http::ByteRange& range = ranges.front();
    response.fields += type_line + "Content-Range: " + range_text(range) + "\r\n";
    response.parts.push_back({"", range.first, range.last - range.first + 1});
    return;
  }
  const std::string tag =
      EtagOf(status, kEtagInode | kEtagSize | kEtagMtime, std::chrono::system_clock::time_point::max());
  const std::string boundary = "baton-" + tag.substr(1, tag.size() - 2) + "-part";
  response.fields += "Content-Type: multipart/byteranges; boundary=" + boundary + "\r\n";
  for (const http::ByteRange& range : ranges) {
    response.parts.push_back(
        {"\r\n--" + boundary + "\r\n" + type_line + "Content-Range: " + range_text(range) + "\r\n\r\n", range.first,
         range.last - range.first + 1});
  }
  response.parts.push_back({"\r\n--" + boundary + "--\r\n", 0, 0});
}

/// A small body is read at once. @return false: it is shrinking under us, whoever sends the file will notice
bool ReadBody(const OpenedFile& file, net::Response& response) {
  const net::Response::Part& part = response.parts[0];
  response.body.resize(part.length);
  for (size_t done = 0; done < part.length;) {
    const ssize_t n =
        ::pread(file.fd.get(), response.body.data() + done, part.length - done, static_cast<off_t>(part.offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      response.body.clear();
      return false;
    }
    done += static_cast<size_t>(n);
  }
  response.parts.clear();
  return true;
}

}  // namespace

os::Result<OpenedFile> OpenForServing(const std::string& root, const std::string& file, unsigned options) {
  auto fd = (options & config::kOptFollowSymLinks) != 0 ? os::Open(file, kServeFlags) : OpenBelow(root, file, options);
  if (!fd) return fd.error();
  OpenedFile out;
  out.fd = std::move(fd).value();
  if (::fstat(out.fd.get(), &out.status) != 0) {
    const int sys = errno;
    return os::SysError(sys, "stat " + file);
  }
  return out;
}

std::string EtagOf(const struct stat& status, unsigned bits, std::chrono::system_clock::time_point now) {
  std::string tag;
  const auto add = [&tag](uint64_t part) {
    std::array<char, 16> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), part, 16).ptr;
    if (!tag.empty()) tag.push_back('-');
    tag.append(digits.data(), static_cast<size_t>(end - digits.data()));
  };
  const int64_t changed = static_cast<int64_t>(status.st_mtim.tv_sec) * 1000000 + status.st_mtim.tv_nsec / 1000;
  if ((bits & kEtagInode) != 0) add(status.st_ino);
  if ((bits & kEtagSize) != 0) add(static_cast<uint64_t>(status.st_size));
  if ((bits & kEtagMtime) != 0) add(static_cast<uint64_t>(changed));
  if (tag.empty()) return tag;
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
  const bool is_weak = microseconds - changed <= 1000000;
  return (is_weak ? "W/\"" : "\"") + tag + "\"";
}

std::optional<FileDigests> DigestsOf(const OpenedFile& file) {
  using Key = std::tuple<dev_t, ino_t, off_t, time_t, long>;
  static thread_local std::map<Key, FileDigests> known;
  const struct stat& status = file.status;
  if (static_cast<uint64_t>(status.st_size) > kMostDigested) return std::nullopt;
  const Key key{status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
  if (const auto found = known.find(key); found != known.end()) return found->second;
  auto digests = Digest(file);
  if (!digests) return digests;
  if (known.size() >= kMostRemembered) known.clear();
  known[key] = *digests;
  return digests;
}

void AppendContentFields(const RequestState& state, std::string& fields) {
  const auto add = [&fields](const char* name, const std::vector<std::string>& values, const char* separator) {
    std::string list;
    for (const std::string& value : values) list.append(list.empty() ? "" : separator).append(value);
    if (!list.empty()) AppendField(fields, name, list);
  };
  add("Content-Language", state.languages, ",");
  add("Content-Encoding", state.encodings, ", ");
}

void ServeOpenedFile(const RequestState& state, OpenedFile file, const FileRules& rules, net::Response& response) {
  const http::RequestHead& head = state.head();
  const auto size = static_cast<uint64_t>(file.status.st_size);
  const std::time_t modified = file.status.st_mtim.tv_sec;
  response.fields += "Last-Modified: " + http::FormatDate(modified) + "\r\n";
  if (!rules.etag.empty()) response.fields += "ETag: " + rules.etag + "\r\n";
  response.fields += rules.ranges.ranges == 0 ? "Accept-Ranges: none\r\n" : "Accept-Ranges: bytes\r\n";
  switch (rules.whole ? http::Precondition::kProceed : http::CheckPreconditions(head, rules.etag, modified)) {
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
  if (!rules.content_md5.empty()) AppendField(response.fields, "Content-MD5", rules.content_md5);
  std::optional<std::vector<http::ByteRange>> ranges;
  if (!rules.whole && !rules.ignore_ranges && rules.ranges.ranges != 0 && head.Has(http::Known::kRange) &&
      (head.method == http::Method::kGet || head.method == http::Method::kHead) &&
      http::IfRangeHolds(head, rules.etag, modified, std::chrono::system_clock::to_time_t(state.request->start))) {
    ranges = http::ParseRanges(head.Get(http::Known::kRange), size, rules.ranges);
  }
  if (ranges && ranges->empty()) {
    response.status = 416;
    response.fields += "Content-Range: bytes */" + std::to_string(size) + "\r\n";
    return;
  }
  const std::string type_line = rules.media_type.empty() ? "" : "Content-Type: " + rules.media_type + "\r\n";
  if (ranges) {
    AddRanges(*ranges, file.status, type_line, response);
  } else {
    response.fields += type_line;
    response.parts.push_back({"", 0, size});
  }
  if (head.method == http::Method::kHead) {
    for (const auto& part : response.parts) response.content_length += part.text.size() + part.length;
    response.without_body = true;
    response.parts.clear();
    return;
  }
  if (response.parts.size() == 1 && response.parts[0].text.empty() &&
      response.parts[0].length <= kReadInsteadOfSendfile && ReadBody(file, response)) {
    return;
  }
  response.use_sendfile = rules.use_sendfile;
  response.file = std::move(file.fd);
}

}  // namespace httpd::modules
