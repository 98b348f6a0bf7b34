#include "rotatelogs/identity.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cstdint>
#include <cstring>

namespace rotatelogs {

namespace {

std::string Hex(const unsigned char* raw, size_t size) {
  std::string out;
  for (size_t i = 0; i < size; ++i) {
    out += "0123456789abcdef"[raw[i] >> 4];
    out += "0123456789abcdef"[raw[i] & 15];
  }
  return out;
}

}  // namespace

std::string IdentityOf(int fd) {
  struct statx status {};
  struct statfs system {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &status) != 0) return "";
  uint64_t volume = ::makedev(status.stx_dev_major, status.stx_dev_minor);
  if (::fstatfs(fd, &system) == 0) {
    uint64_t id = 0;
    static_assert(sizeof system.f_fsid == sizeof id);
    std::memcpy(&id, &system.f_fsid, sizeof id);
    if (id != 0) volume = id;  // survives a reboot that numbers the devices in another order
  }
  std::string text = std::to_string(volume) + ":" + std::to_string(status.stx_ino) + ":";
  if (status.stx_mask & STATX_BTIME) {
    text += std::to_string(status.stx_btime.tv_sec) + "." + std::to_string(status.stx_btime.tv_nsec);
  } else {
    text += std::to_string(status.stx_mtime.tv_sec) + "." + std::to_string(status.stx_mtime.tv_nsec) + "/" +
            std::to_string(status.stx_size);
  }
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), raw, &size, EVP_sha256(), nullptr);
  return Hex(raw, 16);
}

}  // namespace rotatelogs
