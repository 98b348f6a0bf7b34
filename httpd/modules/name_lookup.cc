#include "httpd/modules/name_lookup.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>

#include "httpd/http/ascii.h"
#include "httpd/http/values.h"

namespace httpd::modules {

namespace {

constexpr size_t kMostAddresses = 256;

std::string KeyOf(const NameQuestion& question) {
  return (question.kind == NameQuestion::Kind::kNameOf ? '<' : '>') + question.text;
}

bool IsAddress(const std::string& text) {
  in6_addr bytes{};
  return ::inet_pton(AF_INET, text.c_str(), &bytes) == 1 || ::inet_pton(AF_INET6, text.c_str(), &bytes) == 1;
}

NameLookup::Answer AddressesOf(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  NameLookup::Answer out;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &found) != 0) return out;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  for (const addrinfo* one = found; one && out.size() < kMostAddresses; one = one->ai_next) {
    char text[NI_MAXHOST];
    if (::getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0) {
      out.emplace_back(text);
    }
  }
  return out;
}

std::string NameOf(std::string address) {
  if (address.starts_with("::ffff:") && address.find('.') != std::string::npos) address.erase(0, 7);
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  v4.sin_family = AF_INET;
  v6.sin6_family = AF_INET6;
  char name[NI_MAXHOST];
  int failed = EAI_NONAME;
  if (::inet_pton(AF_INET, address.c_str(), &v4.sin_addr) == 1) {
    failed = ::getnameinfo(reinterpret_cast<sockaddr*>(&v4), sizeof v4, name, sizeof name, nullptr, 0, NI_NAMEREQD);
  } else if (::inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr) == 1) {
    failed = ::getnameinfo(reinterpret_cast<sockaddr*>(&v6), sizeof v6, name, sizeof name, nullptr, 0, NI_NAMEREQD);
  }
  if (failed != 0) return "";
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(), http::Lower);
  return out;
}

}  // namespace

NameLookup& NameLookup::Shared() {
  static NameLookup& lookup = *new NameLookup(&NameLookup::Resolve);  // its thread uses it until the process is gone
  return lookup;
}

NameLookup::Answer NameLookup::Resolve(const NameQuestion& question) {
  if (question.kind == NameQuestion::Kind::kAddressesOf) return AddressesOf(question.text);
  // Whoever has the address says what its name is, but only who has the name says which addresses are its.
  const std::string name = NameOf(question.text);
  if (name.empty() || IsAddress(name)) return {};
  for (const std::string& address : AddressesOf(name)) {
    const auto network = http::Network::Parse(address.substr(0, address.find('%')));
    if (network && network.value().Holds(question.text)) return {name};
  }
  return {};
}

const NameLookup::Known* NameLookup::FindKnown(const std::string& key, Age age) const {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  const Known& known = *found->second;
  return age == Age::kAny || now_() - known.since < kLife ? &known : nullptr;
}

std::optional<NameLookup::Answer> NameLookup::Find(const NameQuestion& question, Age age) {
  const std::string key = KeyOf(question);
  const std::lock_guard lock(mutex_);
  const Known* known = FindKnown(key, age);
  return known ? std::optional(known->answer) : std::nullopt;
}

void NameLookup::Remember(const std::string& key, Answer answer) {
  if (const auto before = by_key_.find(key); before != by_key_.end()) {
    answers_.erase(before->second);
    by_key_.erase(before);
  }
  if (answers_.size() == kMostAnswers) {
    by_key_.erase(answers_.front().key);
    answers_.pop_front();
  }
  answers_.push_back({key, std::move(answer), now_()});
  by_key_[key] = std::prev(answers_.end());
}

bool NameLookup::Ask(const NameQuestion& question, int event) {
  const std::string key = KeyOf(question);
  const std::lock_guard lock(mutex_);
  if (FindKnown(key, Age::kFresh)) {
    if (event >= 0) ::eventfd_write(event, 1);
    return true;
  }
  const bool is_new = !waiting_.contains(key);
  if ((is_new && waiting_.size() >= kMostWaiting) || (event >= 0 && waiters_ >= kMostWaiting)) return false;
  os::Fd copy;
  if (event >= 0) {
    copy = os::Fd(::fcntl(event, F_DUPFD_CLOEXEC, 3));
    if (!copy.valid()) return false;
  }
  if (!is_started_ && !StartThread()) return false;
  std::vector<os::Fd>& events = waiting_[key];
  if (copy.valid()) {
    events.push_back(std::move(copy));
    ++waiters_;
  }
  if (is_new) {
    queue_.push_back(question);
    has_work_.notify_one();
  }
  return true;
}

void NameLookup::GiveUp(const NameQuestion& question) {
  const std::string key = KeyOf(question);
  const std::lock_guard lock(mutex_);
  if (!FindKnown(key, Age::kFresh)) Remember(key, {});
}

bool NameLookup::StartThread() {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // the new thread inherits it: signals are for the loops
  try {
    std::thread([this] { Work(); }).detach();
    is_started_ = true;
  } catch (const std::system_error&) {
    is_started_ = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return is_started_;
}

void NameLookup::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    has_work_.wait(lock, [this] { return !queue_.empty(); });
    const NameQuestion question = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    Answer answer = resolve_(question);
    const std::string key = KeyOf(question);
    lock.lock();
    Remember(key, std::move(answer));
    auto done = waiting_.extract(key);
    waiters_ -= done.mapped().size();
    for (const os::Fd& event : done.mapped()) ::eventfd_write(event.get(), 1);
  }
}

}  // namespace httpd::modules
