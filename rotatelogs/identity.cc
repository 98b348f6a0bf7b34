#include "rotatelogs/identity.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <charconv>
#include <cstring>

namespace rotatelogs {

namespace {

uint64_t DeviceOf(const struct statx& status) {
  return ::makedev(status.stx_dev_major, status.stx_dev_minor);
}

/// The file system's own number: it survives a reboot that numbers the devices in another order.
uint64_t VolumeOf(const struct statfs& system, uint64_t device) {
  uint64_t id = 0;
  static_assert(sizeof system.f_fsid == sizeof id);
  std::memcpy(&id, &system.f_fsid, sizeof id);
  return id != 0 ? id : device;
}

/// What is digested: "volume:inode:birth" or "volume:inode:mtime/size".
std::string_view Describe(uint64_t volume, const struct statx& status, char (&out)[160]) {
  char* at = out;
  const auto number = [&](auto value, char after) {
    at = std::to_chars(at, out + sizeof out, value).ptr;
    if (after != '\0') *at++ = after;
  };
  number(volume, ':');
  number(static_cast<uint64_t>(status.stx_ino), ':');
  if (status.stx_mask & STATX_BTIME) {
    number(static_cast<int64_t>(status.stx_btime.tv_sec), '.');
    number(static_cast<uint32_t>(status.stx_btime.tv_nsec), '\0');
  } else {
    number(static_cast<int64_t>(status.stx_mtime.tv_sec), '.');
    number(static_cast<uint32_t>(status.stx_mtime.tv_nsec), '/');
    number(static_cast<uint64_t>(status.stx_size), '\0');
  }
  return {out, static_cast<size_t>(at - out)};
}

constexpr unsigned kWanted = STATX_BASIC_STATS | STATX_BTIME;

}  // namespace

struct IdentityDigest {
  std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> kind{EVP_MD_fetch(nullptr, "SHA256", nullptr), EVP_MD_free};
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};

  FileId Of(std::string_view text) {
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_DigestInit_ex2(context.get(), kind.get(), nullptr);
    EVP_DigestUpdate(context.get(), text.data(), text.size());
    EVP_DigestFinal_ex(context.get(), raw, &size);
    FileId out;
    for (int i = 0; i < 8; ++i) out.high = out.high << 8 | raw[i];
    for (int i = 8; i < 16; ++i) out.low = out.low << 8 | raw[i];
    return out;
  }
};

std::string FileId::Hex() const {
  std::string out(32, '0');
  for (size_t i = 0; i < 16; ++i) {
    out[i] = "0123456789abcdef"[high >> (60 - 4 * i) & 15];
    out[16 + i] = "0123456789abcdef"[low >> (60 - 4 * i) & 15];
  }
  return out;
}

std::optional<FileId> FileId::Parse(std::string_view hex) {
  if (hex.size() != 32) return std::nullopt;
  FileId out;
  const char* const middle = hex.data() + 16;
  const char* const end = hex.data() + 32;
  if (std::from_chars(hex.data(), middle, out.high, 16).ptr != middle) return std::nullopt;
  if (std::from_chars(middle, end, out.low, 16).ptr != end) return std::nullopt;
  return out;
}

Identifier::Identifier() : digest_(std::make_unique<IdentityDigest>()) {}
Identifier::~Identifier() = default;

std::optional<FileId> Identifier::Look(const char* path, struct statx& status) {
  if (::statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, kWanted, &status) != 0) return std::nullopt;
  if (!S_ISREG(status.stx_mode)) return std::nullopt;
  const uint64_t device = DeviceOf(status);
  auto volume = volumes_.find(device);
  if (volume == volumes_.end()) {
    struct statfs system {};
    if (::statfs(path, &system) != 0) return std::nullopt;
    volume = volumes_.emplace(device, VolumeOf(system, device)).first;
  }
  char text[160];
  return digest_->Of(Describe(volume->second, status, text));
}

std::string IdentityOf(int fd) {
  struct statx status {};
  struct statfs system {};
  if (::statx(fd, "", AT_EMPTY_PATH, kWanted, &status) != 0) return "";
  uint64_t volume = DeviceOf(status);
  if (::fstatfs(fd, &system) == 0) volume = VolumeOf(system, volume);
  char text[160];
  return IdentityDigest{}.Of(Describe(volume, status, text)).Hex();
}

std::string IdentityAt(const std::string& path) {
  struct statx status {};
  const auto id = Identifier().Look(path.c_str(), status);
  return id ? id->Hex() : "";
}

}  // namespace rotatelogs
