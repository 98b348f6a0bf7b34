#include "rotatelogs/verify.h"

#include <Poco/JSON/Object.h>
#include <fcntl.h>

#include <set>
#include <sstream>
#include <unordered_map>

#include "os/file.h"
#include "rotatelogs/compress.h"
#include "rotatelogs/identity.h"
#include "rotatelogs/ledger.h"

namespace rotatelogs {

using os::Result;
namespace fs = std::filesystem;

namespace {

class Verifier {
 public:
  Verifier(bool json, const Say& say) : json_(json), say_(say) {}

  void Check(const Record& record) {
    ++checked_;
    switch (record.state) {
      case State::kDone:
        CheckContent(record, record.path, record.id, Compression::kNone, "segment");
        return CheckOutput(record);
      case State::kCompressed:
        CheckContent(record, record.path, record.archive_id, CompressionOf(record.path), "copy");
        return CheckOutput(record);
      case State::kExpired: {
        const std::string& id = record.path == record.archive ? record.archive_id : record.id;
        const std::string there = Locate(record.path, id);
        if (!there.empty()) Differ(record, "there", there, "is expired but still there: the next run removes it");
        return CheckOutput(record);
      }
      default:
        if (Locate(record.path, record.id).empty() && !(record.state == State::kArchiving && HasCopy(record))) {
          Differ(record, "missing", record.path,
                 "is " + std::string(StateName(record.state)) + " in the ledger, but is gone");
        }
    }
  }

  int Finish() {
    if (json_) {
      Poco::JSON::Object object(Poco::JSON_PRESERVE_KEY_ORDER);
      object.set("event", "summary");
      object.set("checked", checked_);
      object.set("differences", differences_);
      std::ostringstream text;
      object.stringify(text);
      say_(text.str());
    } else {
      say_(std::to_string(checked_) + " checked, " + std::to_string(differences_) + " differ");
    }
    return differences_ > 0 ? 1 : 0;
  }

 private:
  /// Where the file with that identity is: at its recorded path, or under another name in that directory.
  std::string Locate(const std::string& path, const std::string& id) {
    if (IdentityAt(path) == id) return path;
    const std::string directory = fs::path(path).parent_path().string();
    if (listed_.insert(directory).second) {
      if (auto names = os::ListDirectory(directory)) {
        for (const std::string& name : names.value()) {
          const std::string entry = (fs::path(directory) / name).string();
          struct statx status {};
          if (const auto found = identifier_.Look(entry.c_str(), status)) by_identity_.emplace(found->Hex(), entry);
        }
      }
    }
    const auto found = by_identity_.find(id);
    return found == by_identity_.end() ? "" : found->second;
  }

  static bool HasCopy(const Record& record) {
    return IdentityAt(record.archive) == record.archive_id || IdentityAt(record.temporary) == record.archive_id;
  }

  void CheckContent(const Record& record, const std::string& path, const std::string& id, Compression kind,
                    const std::string& what) {
    const std::string there = Locate(path, id);
    if (there.empty()) {
      std::error_code none;
      const bool other = fs::exists(path, none);
      return Differ(record, other ? "replaced" : "missing", path,
                    other ? "is not the " + what + " that was processed" : "the " + what + " is gone");
    }
    auto fd = os::Open(there, O_RDONLY | O_NOFOLLOW);
    if (!fd) return Differ(record, "unreadable", there, fd.error().Text());
    const Result<Content> content =
        kind == Compression::kNone ? ReadContent(fd.value()) : ReadCompressed(kind, fd.value());
    if (!content) return Differ(record, "unreadable", there, content.error().Text());
    if (content.value().sha256 != record.sha256) {
      Differ(record, "changed", there,
             "the " + what + " does not hold the bytes that were processed: SHA-256 " + content.value().sha256 +
                 ", recorded " + record.sha256);
    }
  }

  void CheckOutput(const Record& record) {
    if (record.output.empty()) return;
    const std::string there = Locate(record.output, record.output_id);
    if (there.empty()) {
      std::error_code none;
      const bool other = fs::exists(record.output, none);
      return Differ(record, other ? "replaced" : "missing", record.output,
                    other ? "is not the output that was written" : "the output is gone");
    }
    if (record.output_sha256.empty()) return;  // of the first release, which did not keep it
    auto fd = os::Open(there, O_RDONLY | O_NOFOLLOW);
    if (!fd) return Differ(record, "unreadable", there, fd.error().Text());
    auto content = ReadContent(fd.value());
    if (!content) return Differ(record, "unreadable", there, content.error().Text());
    if (content.value().sha256 != record.output_sha256) {
      Differ(record, "changed", there,
             "the output was changed: SHA-256 " + content.value().sha256 + ", recorded " + record.output_sha256);
    }
  }

  void Differ(const Record& record, const std::string& kind, const std::string& path, const std::string& what) {
    ++differences_;
    if (!json_) return say_(kind + " " + path + ": " + what);
    Poco::JSON::Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("event", kind);
    object.set("path", path);
    object.set("id", record.id);
    object.set("state", std::string(StateName(record.state)));
    object.set("detail", what);
    std::ostringstream text;
    object.stringify(text);
    say_(text.str());
  }

  const bool json_;
  const Say& say_;
  Identifier identifier_;
  std::set<std::string> listed_;
  std::unordered_map<std::string, std::string> by_identity_;
  int64_t checked_ = 0;
  int64_t differences_ = 0;
};

}  // namespace

int Verify(const fs::path& path, bool json, const Say& say, const Say& complain) {
  auto ledger = Ledger::Open(path, Ledger::Mode::kReadOnly);
  auto records = ledger ? ledger.value()->All() : Result<std::vector<Record>>(ledger.error());
  if (!records) {
    complain("processlogs: " + records.error().Text());
    return 3;
  }
  Verifier verifier(json, say);
  for (const Record& record : records.value()) verifier.Check(record);
  return verifier.Finish();
}

}  // namespace rotatelogs
