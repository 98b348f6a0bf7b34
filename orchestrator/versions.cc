#include "orchestrator/versions.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <set>

#include "handover/instance_files.h"
#include "orchestrator/context.h"
#include "orchestrator/plan.h"
#include "orchestrator/report.h"
#include "os/digest.h"
#include "os/file.h"

namespace orchestrator {

namespace {

namespace fs = std::filesystem;

constexpr char kManifest[] = "manifest.json";
constexpr char kConfigName[] = "httpd.conf";
constexpr std::string_view kTemporary = ".new.";
constexpr size_t kIdLength = 12;
constexpr std::string_view kFingerprint = "# fingerprint: ";

fs::path DirectoryOf(const fs::path& runtime_dir) {
  return runtime_dir / "orchestrator" / "versions";
}

std::string Hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

/// Changes with every write to the file, and differs between any two files: nothing has to be read to know it again.
std::string SourceOf(const struct stat& st) {
  std::string out;
  for (const auto number : {static_cast<int64_t>(st.st_dev), static_cast<int64_t>(st.st_ino), int64_t{st.st_size},
                            int64_t{st.st_mtim.tv_sec}, int64_t{st.st_mtim.tv_nsec}, int64_t{st.st_ctim.tv_sec},
                            int64_t{st.st_ctim.tv_nsec}}) {
    out += (out.empty() ? "" : ".") + std::to_string(number);
  }
  return out;
}

/// The manifest's own keeping, beside what a caller sees.
struct Kept {
  Version version;
  std::string source;  ///< SourceOf() the file that the copy was made of
};

Poco::JSON::Array TextArray(const std::vector<std::string>& texts) {
  Poco::JSON::Array out;
  for (const std::string& text : texts) out.add(Hex(text));  // any byte may stand in an argument, JSON is UTF-8
  return out;
}

std::string FromHex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return out;
}

std::vector<std::string> TextsOf(const Poco::JSON::Array::Ptr& array) {
  std::vector<std::string> out;
  for (unsigned i = 0; array && i < array->size(); ++i) out.push_back(FromHex(array->getElement<std::string>(i)));
  return out;
}

os::Status WriteManifest(const fs::path& directory, const Kept& kept) {
  const Version& v = kept.version;
  auto json = Ordered();
  json.set("id", v.id);
  json.set("version", v.version);
  json.set("build_id", v.build_id);
  json.set("sha256", v.sha256);
  json.set("original_binary", v.original_binary.string());
  json.set("binary", v.binary.filename().string());
  json.set("server_root", v.server_root);
  json.set("config_file", v.original_config);
  json.set("config", v.config.empty() ? "" : kConfigName);
  json.set("config_id", v.config_id);
  json.set("directory", v.directory.string());
  json.set("kept_at", v.kept_at);
  json.set("source", kept.source);
  json.set("arguments_hex", TextArray(v.arguments));
  json.set("environment_hex", TextArray(v.environment));
  return os::ReplaceFile(directory / kManifest, OneLine(json) + "\n", 0600);
}

os::Result<Kept> ReadManifest(const fs::path& directory) {
  auto text = os::ReadFile(directory / kManifest, 16U << 20);
  if (!text) return text.error();
  Kept kept;
  Version& v = kept.version;
  try {
    Poco::JSON::Parser parser;
    const auto json = parser.parse(text.value()).extract<Poco::JSON::Object::Ptr>();
    v.id = json->getValue<std::string>("id");
    v.version = json->getValue<std::string>("version");
    v.build_id = json->getValue<std::string>("build_id");
    v.sha256 = json->getValue<std::string>("sha256");
    v.original_binary = json->getValue<std::string>("original_binary");
    v.binary = directory / json->getValue<std::string>("binary");
    v.server_root = json->getValue<std::string>("server_root");
    v.original_config = json->getValue<std::string>("config_file");
    if (const auto config = json->getValue<std::string>("config"); !config.empty()) v.config = directory / config;
    v.config_id = json->getValue<std::string>("config_id");
    v.directory = json->getValue<std::string>("directory");
    v.kept_at = json->getValue<int64_t>("kept_at");
    kept.source = json->getValue<std::string>("source");
    v.arguments = TextsOf(json->getArray("arguments_hex"));
    v.environment = TextsOf(json->getArray("environment_hex"));
  } catch (const Poco::Exception& failed) {
    return os::Error{os::ErrorKind::kInvalid, 0, directory.string() + ": " + failed.displayText()};
  } catch (const std::logic_error& failed) {
    return os::Error{os::ErrorKind::kInvalid, 0, directory.string() + ": " + failed.what()};
  }
  return kept;
}

std::vector<Kept> ListKept(const fs::path& runtime_dir) {
  std::vector<Kept> out;
  auto names = os::ListDirectory(DirectoryOf(runtime_dir));
  if (!names) return out;
  for (const std::string& name : names.value()) {
    if (name.starts_with('.')) continue;
    auto kept = ReadManifest(DirectoryOf(runtime_dir) / name);
    if (kept && ::access(kept.value().version.binary.c_str(), F_OK) == 0) out.push_back(std::move(kept).value());
  }
  std::sort(out.begin(), out.end(), [](const Kept& a, const Kept& b) {
    return std::pair(-a.version.kept_at, a.version.id) < std::pair(-b.version.kept_at, b.version.id);
  });
  return out;
}

os::Status CopyAll(const os::Fd& from, const fs::path& to) {
  auto out = os::Open(to, O_WRONLY | O_CREAT | O_EXCL, 0500);
  if (!out) return out.error();
  const auto failed = [&to](int sys) { return os::SysError(sys, "write " + to.string()); };
  loff_t at = 0;
  for (;;) {
    const ssize_t n = ::copy_file_range(from.get(), &at, out.value().get(), nullptr, 1U << 30, 0);
    if (n == 0 && at > 0) break;
    if (n > 0) continue;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && at > 0) return failed(errno);
    // From another kind of file system (or an old overlay, which copies nothing and calls it done): by hand.
    std::vector<char> buffer(1U << 20);
    for (;;) {
      const ssize_t got = ::pread(from.get(), buffer.data(), buffer.size(), at);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return failed(errno);
      if (got == 0) break;
      if (auto written = os::WriteAll(out.value(), {buffer.data(), static_cast<size_t>(got)}); !written) {
        return os::SysError(written.error().sys, "write " + to.string());
      }
      at += got;
    }
    break;
  }
  if (::fsync(out.value().get()) != 0) return failed(errno);
  return os::CloseChecked(out.value());
}

os::Status CopyText(const fs::path& to, const std::string& text) {
  auto out = os::Open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!out) return out.error();
  if (auto written = os::WriteAll(out.value(), text); !written) return written;
  if (::fsync(out.value().get()) != 0) {
    const int sys = errno;
    return os::SysError(sys, "write " + to.string());
  }
  return os::CloseChecked(out.value());
}

/// What the server wrote at the head of its flattened configuration.
std::string FingerprintIn(const std::string& text) {
  const size_t at = text.find(kFingerprint);
  if (at == std::string::npos) return "";
  const size_t begin = at + kFingerprint.size();
  return text.substr(begin, text.find('\n', begin) - begin);
}

std::string ExePath(pid_t pid) {
  return "/proc/" + std::to_string(pid) + "/exe";
}

std::string IdOf(const Version& v, const std::string& config_text) {
  os::Sha256 digest;
  const auto add = [&digest](const std::string& text) {
    digest.Add(text);
    digest.Add(std::string_view("\0", 1));
  };
  add(v.sha256);
  add(v.config_id.empty() ? config_text : v.config_id);
  add(v.server_root);
  add(v.original_config);
  add(v.original_binary);
  for (const std::string& argument : KeptArguments(v.arguments)) add(argument);
  return digest.Hex().substr(0, kIdLength);
}

}  // namespace

os::Result<std::string> BuildIdOf(const fs::path& binary) {
  auto file = os::Open(binary, O_RDONLY);
  if (!file) return file.error();
  const int fd = file.value().get();
  Elf64_Ehdr head{};
  if (::pread(fd, &head, sizeof head, 0) != sizeof head || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
      head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_phentsize != sizeof(Elf64_Phdr)) {
    return std::string();
  }
  for (int i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr segment{};
    const auto at = static_cast<off_t>(head.e_phoff + static_cast<uint64_t>(i) * sizeof segment);
    if (::pread(fd, &segment, sizeof segment, at) != sizeof segment) break;
    if (segment.p_type != PT_NOTE || segment.p_filesz > (64U << 10)) continue;
    std::string notes(segment.p_filesz, '\0');
    if (::pread(fd, notes.data(), notes.size(), static_cast<off_t>(segment.p_offset)) !=
        static_cast<ssize_t>(notes.size())) {
      break;
    }
    for (size_t next = 0; next + sizeof(Elf64_Nhdr) <= notes.size();) {
      Elf64_Nhdr note{};
      std::memcpy(&note, notes.data() + next, sizeof note);
      const size_t name = next + sizeof note;
      const size_t text = name + ((note.n_namesz + size_t{3}) & ~size_t{3});
      if (text > notes.size() || note.n_descsz > notes.size() - text) break;
      if (note.n_type == NT_GNU_BUILD_ID && notes.compare(name, 4, std::string_view("GNU\0", 4)) == 0) {
        return Hex(std::string_view(notes).substr(text, note.n_descsz));
      }
      const size_t padding = segment.p_align == 8 ? 7 : 3;
      next = (text + note.n_descsz + padding) & ~padding;
    }
  }
  return std::string();
}

os::Result<std::string> Sha256Of(const fs::path& path) {
  auto file = os::Open(path, O_RDONLY);
  if (!file) return file.error();
  os::Sha256 digest;
  std::vector<char> buffer(1U << 18);
  for (;;) {
    const ssize_t n = ::read(file.value().get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int sys = errno;
      return os::SysError(sys, "read " + path.string());
    }
    if (n == 0) return digest.Hex();
    digest.Add({buffer.data(), static_cast<size_t>(n)});
  }
}

int64_t BytesToKeep(const fs::path& runtime_dir, pid_t pid) {
  struct stat st {};
  if (::stat(ExePath(pid).c_str(), &st) != 0) return 0;
  const std::string source = SourceOf(st);
  for (const Kept& kept : ListKept(runtime_dir)) {
    struct stat copy {};
    if (kept.source == source) return 0;
    if (::stat(kept.version.binary.c_str(), &copy) == 0 && SourceOf(copy) == source) return 0;
  }
  return st.st_size;
}

namespace {

/// A running instance, looked at.
struct Seen {
  Kept kept;
  std::string config_text;
  os::Fd exe;
  std::vector<Kept> have;
  fs::path same_binary;  ///< a kept file with the same bytes; empty: none
};

os::Result<Seen> LookAt(const fs::path& runtime_dir, const httpd::Instance& instance, const os::Clock& clock) {
  const pid_t pid = instance.id.pid;
  auto context = ReadContext(pid);
  if (!context) return context.error();
  auto exe = os::Open(ExePath(pid), O_RDONLY);
  if (!exe) return exe.error();
  struct stat st {};
  if (::fstat(exe.value().get(), &st) != 0) {
    const int sys = errno;
    return os::SysError(sys, "look at the binary of process " + std::to_string(pid));
  }
  Seen seen;
  Kept& kept = seen.kept;
  Version& v = kept.version;
  std::string& config_text = seen.config_text;
  if (auto text = os::ReadFile(handover::ConfigPath(runtime_dir, pid)); text) config_text = std::move(text).value();
  v.config_id = FingerprintIn(config_text);
  v.version = instance.hello.version;
  v.original_binary = context.value().binary;
  v.server_root = instance.hello.server_root;
  v.original_config = instance.hello.config_file;
  v.arguments = context.value().arguments;
  v.environment = context.value().environment;
  v.directory = context.value().directory;
  v.kept_at = static_cast<int64_t>(UnixSeconds(clock));
  kept.source = SourceOf(st);

  // Started from a copy: what it is a copy of counts.
  if (auto origin = VersionOfCopy(runtime_dir, v.original_binary); origin) {
    v.original_binary = origin.value().original_binary;
  }
  if (auto origin = VersionOfCopy(runtime_dir, v.original_config); origin) {
    v.original_config = origin.value().original_config;
    v.arguments = origin.value().arguments;
  }

  seen.have = ListKept(runtime_dir);
  for (const Kept& one : seen.have) {
    struct stat copy {};
    const bool is_copy = ::stat(one.version.binary.c_str(), &copy) == 0 && SourceOf(copy) == kept.source;
    if (one.source == kept.source || is_copy) {
      v.sha256 = one.version.sha256;
      if (is_copy) kept.source = one.source;
    }
  }
  if (v.sha256.empty()) {
    auto sha256 = Sha256Of(ExePath(pid));
    if (!sha256) return sha256.error();
    v.sha256 = std::move(sha256).value();
  }
  for (const Kept& one : seen.have) {
    if (one.version.sha256 == v.sha256) seen.same_binary = one.version.binary;
  }
  if (auto build_id = BuildIdOf(ExePath(pid)); build_id) v.build_id = std::move(build_id).value();
  v.id = IdOf(v, config_text);

  seen.exe = std::move(exe).value();
  return seen;
}

}  // namespace

os::Result<Version> KeepVersion(const fs::path& runtime_dir, const httpd::Instance& instance, const os::Clock& clock) {
  auto looked = LookAt(runtime_dir, instance, clock);
  if (!looked) return looked.error();
  Seen seen = std::move(looked).value();
  Kept& kept = seen.kept;
  Version& v = kept.version;
  const std::string& config_text = seen.config_text;
  const std::vector<Kept>& have = seen.have;
  const fs::path parent = DirectoryOf(runtime_dir);
  const fs::path target = parent / v.id;
  const auto place = [&](const fs::path& directory) {
    v.binary = directory / v.original_binary.filename();
    v.config = config_text.empty() ? fs::path() : directory / kConfigName;
  };
  if (std::any_of(have.begin(), have.end(), [&](const Kept& one) { return one.version.id == v.id; })) {
    for (const Kept& one : have) {
      if (one.version.id == v.id) v.config = one.version.config, v.binary = one.version.binary;
    }
    if (auto touched = WriteManifest(target, kept); !touched) return touched.error();
    return v;
  }
  if (auto made = os::MakeDirectories(parent, 0700); !made) return made.error();
  const fs::path fresh = parent / (std::string(kTemporary) + std::to_string(::getpid()));
  std::error_code ignored;
  fs::remove_all(fresh, ignored);
  const auto fill = [&]() -> os::Status {
    if (auto made = os::MakeDirectories(fresh, 0700); !made) return made;
    place(fresh);
    const bool linked = !seen.same_binary.empty() && ::link(seen.same_binary.c_str(), v.binary.c_str()) == 0;
    if (!linked) {
      if (auto copied = CopyAll(seen.exe, v.binary); !copied) return copied;
    }
    if (!config_text.empty()) {
      if (auto written = CopyText(v.config, config_text); !written) return written;
    }
    place(target);
    if (auto written = WriteManifest(fresh, kept); !written) return written;
    fs::remove_all(target, ignored);  // it is none of `have`: half of one
    if (::rename(fresh.c_str(), target.c_str()) != 0) {
      const int sys = errno;
      return os::SysError(sys, "rename " + fresh.string());
    }
    return os::SyncDirectory(parent);
  };
  if (auto done = fill(); !done) {
    fs::remove_all(fresh, ignored);
    return done.error();
  }
  return v;
}

os::Result<Version> DescribeVersion(const fs::path& runtime_dir, const httpd::Instance& instance,
                                    const os::Clock& clock) {
  auto seen = LookAt(runtime_dir, instance, clock);
  if (!seen) return seen.error();
  return std::move(seen.value().kept.version);
}

std::vector<Version> ListVersions(const fs::path& runtime_dir) {
  std::vector<Version> out;
  for (Kept& kept : ListKept(runtime_dir)) out.push_back(std::move(kept.version));
  return out;
}

os::Result<Version> FindVersion(const fs::path& runtime_dir, std::string_view id_or_version) {
  const std::vector<Version> all = ListVersions(runtime_dir);
  for (const bool by_id : {true, false}) {
    for (const Version& one : all) {
      if ((by_id ? one.id : one.version) == id_or_version) return one;
    }
  }
  std::string names;
  for (const Version& one : all) names += (names.empty() ? "" : ", ") + one.id + " (" + one.version + ")";
  return os::Error{os::ErrorKind::kNotFound, 0,
                   "no version \"" + std::string(id_or_version) + "\" is kept" +
                       (names.empty() ? "; an upgrade keeps what it replaces" : ": there are " + names)};
}

os::Result<Version> VersionOfCopy(const fs::path& runtime_dir, const fs::path& path) {
  const fs::path parent = path.parent_path();
  if (parent.parent_path() == DirectoryOf(runtime_dir)) {
    if (auto kept = ReadManifest(parent); kept) return std::move(kept).value().version;
  }
  return os::Error{os::ErrorKind::kNotFound, 0, path.string() + " is no kept copy"};
}

os::Result<httpd::Program> ProgramOfVersion(const Version& version, const std::vector<std::string>& environment) {
  httpd::Program program;
  const auto is_it = [&](const fs::path& path) {
    if (::access(path.c_str(), X_OK) != 0) return false;
    auto sha256 = Sha256Of(path);
    return sha256 && sha256.value() == version.sha256;
  };
  if (is_it(version.original_binary)) {
    program.binary = version.original_binary;
  } else if (::access(version.binary.c_str(), X_OK) == 0) {
    program.binary = version.binary;
  } else {
    return os::Error{os::ErrorKind::kNotFound, 0,
                     "the binary of version " + version.id + " is neither in " + version.original_binary.string() +
                         " nor in " + version.binary.string() + " any more"};
  }
  program.server_root = version.server_root;
  program.config_file = version.original_config;
  program.arguments = KeptArguments(version.arguments);
  program.environment = environment;
  program.directory = version.directory;
  if (version.config_id.empty() || version.config.empty()) return program;  // then the file is all there is
  auto now = httpd::AskConfig(program);
  if (now && now.value().config_id == version.config_id) return program;
  if (::access(version.config.c_str(), R_OK) != 0) {
    const int sys = errno;
    return os::SysError(sys, "read the configuration of version " + version.id + ", " + version.config.string());
  }
  program.config_file = version.config;
  program.arguments = WithoutDirectives(program.arguments);  // they are in the copy
  return program;
}

void PruneVersions(const fs::path& runtime_dir, const std::vector<std::string>& wanted, size_t most) {
  const std::vector<Version> all = ListVersions(runtime_dir);
  std::set<std::string> keep(wanted.begin(), wanted.end());
  for (size_t i = 0; i < all.size() && i < most; ++i) keep.insert(all[i].id);
  auto instances = httpd::ListInstances(runtime_dir);
  if (!instances) return;  // who uses what cannot be told
  for (const httpd::Found& found : instances.value()) {
    std::error_code failed;
    std::vector<fs::path> used = {fs::read_symlink(ExePath(found.pid), failed)};
    if (found.hello) used.emplace_back(found.hello->config_file);
    for (const fs::path& path : used) keep.insert(path.parent_path().filename().string());
  }
  auto names = os::ListDirectory(DirectoryOf(runtime_dir));
  if (!names) return;
  for (const std::string& name : names.value()) {
    std::error_code failed;
    if (keep.contains(name)) continue;
    // Another command may be copying at this moment: we hold no lock.
    if (name.starts_with(kTemporary) && os::Identify(std::atoi(name.c_str() + kTemporary.size()))) continue;
    fs::remove_all(DirectoryOf(runtime_dir) / name, failed);
  }
}

}  // namespace orchestrator
