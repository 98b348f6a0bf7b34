#include <Poco/Exception.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <signal.h>

#include <fstream>
#include <set>
#include <sstream>

#include "tests/e2e/server.h"

namespace {

using e2e::Connection;
using e2e::Outcome;
using Poco::JSON::Object;

/// The table of keys in orchestrator(8), and what it says about a line of output. A command that has a new event or key
/// gets it into the manual page; nothing here changes.
class Schema {
 public:
  explicit Schema(const std::string& manual) {
    std::ifstream in(manual);
    bool inside = false;
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with(".\\\" schema")) inside = line.starts_with(".\\\" schema begin");
      if (!inside || line.starts_with(".")) continue;
      std::istringstream words(line);
      std::string name;
      words >> name;
      for (std::string word; words >> word;) {
        const size_t colon = word.find(':');
        std::string type = word.substr(colon + 1);
        const bool optional = type.ends_with('?');
        if (optional) type.pop_back();
        keys_[name][word.substr(0, colon)] = {type, optional};
      }
    }
  }

  bool empty() const { return keys_.empty(); }

  /// "" when `line` is an event as documented. Notes its name in `seen`.
  std::string Complaint(const std::string& line, std::set<std::string>& seen) const {
    try {
      Poco::JSON::Parser parser;
      const auto object = parser.parse(line).extract<Object::Ptr>();
      const auto event = object->getValue<std::string>("event");
      seen.insert(event);
      if (!keys_.contains(event)) return "event " + event + " is not documented";
      if (!object->get("at").isNumeric()) return "\"at\" is no number";
      return OfObject(*object, event, {"event", "at"});
    } catch (const Poco::Exception& failed) {
      return "no JSON object with an event: " + failed.displayText();
    }
  }

 private:
  struct Key {
    std::string type;
    bool optional = false;
  };

  std::string OfObject(const Object& object, const std::string& name, const std::set<std::string>& besides) const {
    const auto& keys = keys_.at(name);
    for (const auto& [key, wanted] : keys) {
      if (!object.has(key)) {
        if (!wanted.optional) return name + ": " + key + " is missing";
        continue;
      }
      const std::string why = OfValue(object.get(key), wanted.type);
      if (!why.empty()) return name + "." + key + " " + why;
    }
    for (const std::string& key : object.getNames()) {
      if (!keys.contains(key) && !besides.contains(key)) return name + ": " + key + " is not documented";
    }
    return "";
  }

  std::string OfValue(const Poco::Dynamic::Var& value, std::string type) const {
    if (type.ends_with("[]")) {
      if (value.type() != typeid(Poco::JSON::Array::Ptr)) return "is no list";
      type.resize(type.size() - 2);
      for (const auto& one : *value.extract<Poco::JSON::Array::Ptr>()) {
        if (std::string why = OfValue(one, type); !why.empty()) return why;
      }
      return "";
    }
    if (type == "string") return value.isString() ? "" : "is no string";
    if (type == "boolean") return value.isBoolean() ? "" : "is no boolean";
    if (type == "integer") return value.isInteger() && !value.isBoolean() ? "" : "is no integer";
    if (type == "number") return value.isNumeric() && !value.isBoolean() ? "" : "is no number";
    if (!keys_.contains(type)) return "has the type " + type + ", which is not documented";
    if (value.type() != typeid(Object::Ptr)) return "is no object";
    return OfObject(*value.extract<Object::Ptr>(), type, {});
  }

  std::map<std::string, std::map<std::string, Key>> keys_;
};

class Json : public e2e::Server {
 protected:
  /// Runs a command with --json: every line must be as documented, the last one must be `last`.
  void ExpectDocumented(const std::string& verb, const std::vector<std::string>& arguments, int status,
                        const std::string& last = "result") {
    std::vector<std::string> words = arguments;
    words.push_back("--json");
    const Outcome outcome = Orchestrator(verb, words);
    EXPECT_EQ(outcome.status, status) << verb << ": " << outcome.All();
    std::istringstream lines(outcome.out);
    std::string line;
    while (std::getline(lines, line)) EXPECT_EQ(schema_.Complaint(line, seen_), "") << verb << ": " << line;
    EXPECT_TRUE(line.empty() && outcome.out.find("{\"event\":\"" + last + "\"") != std::string::npos) << outcome.All();
    EXPECT_TRUE(outcome.out.empty() || outcome.out.back() == '\n');
  }

  std::optional<Connection> SlowDownload() {
    auto connection = Connection::Open(port_, 4096);
    if (!connection || !connection->Send(e2e::GetRequest("/big.bin"))) return std::nullopt;
    return connection->ReadSome(1000).size() == 1000 ? std::move(connection) : std::nullopt;
  }

  Schema schema_{BATON_MANUAL};
  std::set<std::string> seen_;
};

TEST_F(Json, EveryLineOfEveryCommandIsAsTheManualPageSays) {
  ASSERT_FALSE(schema_.empty()) << "no schema in " << BATON_MANUAL;
  ExpectDocumented("status", {}, 1, "status");
  ExpectDocumented("history", {}, 0, "history");
  ExpectDocumented("resume", {}, 0);
  ExpectDocumented("stop", {}, 0);
  ExpectDocumented("upgrade", {}, 1);
  ExpectDocumented("start", {}, 0);
  ExpectDocumented("start", {}, 0);
  ExpectDocumented("check", {}, 0);
  ExpectDocumented("upgrade", {"--bake", "0.1", "--accept-shared", "log-program"}, 0);
  ExpectDocumented("upgrade", {"--bake", "0", "--probe", "/missing=200"}, 3);
  ExpectDocumented("upgrade", {"--bake", "0", "--detach"}, 0);
  ExpectDocumented("upgrade", {"--dry-run", "--hook", "probed=true"}, 0);
  ExpectDocumented("rollback", {}, 1);  // nothing else has run yet
  ExpectDocumented("status", {}, 0, "status");
  Configure({.ports = {port_}, .log = "|/bin/cat", .more = "Mutex default OmitPID"});
  ExpectDocumented("check", {}, 1);
  ExpectDocumented("upgrade", {"--bake", "0"}, 1);
  Configure({.more = "NoSuchDirective"});
  ExpectDocumented("check", {}, 1);
  ExpectDocumented("start", {}, 1);
  Configure({});
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  ExpectDocumented("upgrade", {"--bake", "0", "--graceful-shutdown-timeout", "2"}, 4);
  download = SlowDownload();
  ASSERT_TRUE(download);
  ExpectDocumented("stop", {"--graceful", "--graceful-shutdown-timeout", "1"}, 4);
  ExpectDocumented("history", {}, 0, "history");
  for (const char* event : {"step", "note", "progress", "finding", "cut", "history", "plan", "status", "result"}) {
    EXPECT_TRUE(seen_.contains(event)) << event << " never came";
  }
}

TEST_F(Json, StatusNamesWhoHoldsTheLock) {
  Start();
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "30"}), outside_ / "upgrade");
  const pid_t old = Pid();
  ASSERT_TRUE(e2e::Eventually([&] { return Pid() != old && Pid() != 0; }));
  ExpectDocumented("status", {}, 0, "status");
  EXPECT_NE(Orchestrator("status", {"--json"}).out.find("\"running\":{\"pid\":" + std::to_string(upgrade.pid())),
            std::string::npos);
  ExpectDocumented("upgrade", {}, 75);
  upgrade.Signal(SIGTERM);
  EXPECT_EQ(upgrade.Wait().status, 3);
}

TEST(JsonSchema, NoticesWhatIsMissingWrongOrNotDocumented) {
  const Schema schema(BATON_MANUAL);
  std::set<std::string> seen;
  EXPECT_EQ(schema.Complaint(R"({"event":"note","at":1.5,"text":"x"})", seen), "");
  EXPECT_EQ(schema.Complaint(R"({"event":"note","at":1.5})", seen), "note: text is missing");
  EXPECT_EQ(schema.Complaint(R"({"event":"note","at":1.5,"text":7})", seen), "note.text is no string");
  EXPECT_EQ(schema.Complaint(R"({"event":"note","at":1,"text":"","x":1})", seen), "note: x is not documented");
  EXPECT_EQ(schema.Complaint(R"({"event":"song","at":1})", seen), "event song is not documented");
  EXPECT_NE(schema.Complaint("nonsense", seen), "");
}

}  // namespace
