#include "httpd/log/log_stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace httpd::log {
namespace {

/// A pipe as LogSet makes it, with its reading end in our hands.
class Pipe {
 public:
  explicit Pipe(int bytes = 4096) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    read_end_ = os::Fd(ends[0]);
    sink_.fd = os::Fd(ends[1]);
    sink_.is_pipe = true;
    sink_.turn = SharedMutex::Make().value();
    ::fcntl(ends[1], F_SETFL, O_WRONLY | O_NONBLOCK);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    EXPECT_GE(::fcntl(ends[1], F_SETPIPE_SZ, bytes), 0);
  }
  LogSink& sink() { return sink_; }
  int fd() const { return read_end_.get(); }
  void CloseReadEnd() { read_end_.Reset(); }

  /// Reads what is there, at most `limit` bytes.
  std::string Take(size_t limit = SIZE_MAX) {
    std::string out;
    char buffer[4096];
    while (out.size() < limit) {
      const ssize_t n = ::read(read_end_.get(), buffer, std::min(sizeof buffer, limit - out.size()));
      if (n <= 0) break;
      out.append(buffer, static_cast<size_t>(n));
    }
    return out;
  }
  /// Puts `bytes` of lines in the pipe, past any stream.
  void Fill(size_t bytes) {
    const std::string line = std::string(bytes - 1, 'f') + "\n";
    EXPECT_EQ(::write(sink_.fd.get(), line.data(), line.size()), static_cast<ssize_t>(bytes));
  }

 private:
  os::Fd read_end_;
  LogSink sink_;
};

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    out.push_back(text.substr(at, end == std::string::npos ? end : end - at));
    if (end == std::string::npos) break;
    at = end + 1;
  }
  return out;
}

bool IsOneLetter(const std::string& line) {
  return line.find_first_not_of(line.empty() ? 'x' : line[0]) == std::string::npos;
}

TEST(LogStream, WritesWhatFitsAndKeepsTheRestForLater) {
  Pipe pipe(4096);
  LogStream stream(pipe.sink());
  for (int i = 0; i < 100; ++i) stream.buffer() += std::string(99, 'a') + "\n";  // 10,000 bytes
  EXPECT_FALSE(stream.Flush());
  std::string got = pipe.Take();
  for (int i = 0; i < 10 && !stream.Flush(); ++i) got += pipe.Take();
  got += pipe.Take();
  EXPECT_TRUE(stream.empty());
  EXPECT_EQ(got.size(), 10000u);
  EXPECT_EQ(Lines(got).size(), 100u);
  EXPECT_EQ(stream.lost_lines(), 0u);
}

TEST(LogStream, NobodyWritesIntoALongLineThatAFullPipeHasTakenHalf) {
  Pipe pipe(8192);
  LogStream first(pipe.sink());
  LogStream second(pipe.sink());
  pipe.Fill(4096);
  first.buffer() = std::string(10239, 'a') + "\n";
  second.buffer() = std::string(99, 'b') + "\n";
  EXPECT_FALSE(first.Flush());  // a part of the line is in the pipe
  EXPECT_FALSE(first.Flush());  // the pipe is full: nothing more goes in, and the turn must stay ours
  std::string got = pipe.Take(8192);
  EXPECT_FALSE(second.Flush()) << "written into the middle of another line";
  for (int i = 0; i < 10 && !(first.empty() && second.empty()); ++i) {
    first.Flush();
    second.Flush();
    got += pipe.Take();
  }
  got += pipe.Take();
  const auto lines = Lines(got);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_TRUE(lines[1] == std::string(10239, 'a')) << "a torn line of " << lines[1].size() << " bytes";
  EXPECT_EQ(lines[2], std::string(99, 'b'));
}

TEST(LogStream, LinesOfTwoProcessesArriveWholeThroughANearlyFullPipe) {
  Pipe pipe(4096);
  constexpr int kLines = 60;
  std::vector<pid_t> writers;
  for (const char letter : {'a', 'b'}) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      LogStream stream(pipe.sink());
      for (int i = 0; i < kLines; ++i) {
        stream.buffer() += std::string(i % 3 == 0 ? 10240 : 80, letter) + "\n";
        stream.Flush();
      }
      while (!stream.Flush()) {
        pollfd room{pipe.sink().fd.get(), POLLOUT, 0};
        ::poll(&room, 1, 5);  // also after five milliseconds: it may be the other writer's turn that we wait for
      }
      ::_exit(stream.lost_lines() == 0 ? 0 : 1);
    }
    writers.push_back(pid);
  }
  pipe.sink().fd.Reset();
  ::fcntl(pipe.fd(), F_SETFL, 0);
  const std::string got = pipe.Take();
  for (const pid_t pid : writers) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  std::map<std::string, int> seen;
  for (const std::string& line : Lines(got)) {
    ASSERT_TRUE(IsOneLetter(line)) << "a torn line of " << line.size() << " bytes";
    ++seen[line.substr(0, 1) + std::to_string(line.size())];
  }
  const std::map<std::string, int> expected = {{"a10240", 20}, {"b10240", 20}, {"a80", 40}, {"b80", 40}};
  EXPECT_EQ(seen, expected);
}

TEST(LogStream, AWriterThatDiedInTheMiddleOfALineDoesNotSpoilTheNextOne) {
  Pipe pipe(8192);
  pipe.Fill(4096);
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    LogStream stream(pipe.sink());
    stream.buffer() = std::string(10239, 'a') + "\n";
    stream.Flush();
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  std::string got = pipe.Take();
  LogStream stream(pipe.sink());
  stream.buffer() = "whole\n";
  EXPECT_TRUE(stream.Flush());
  got += pipe.Take();
  const auto lines = Lines(got);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_TRUE(IsOneLetter(lines[1]));
  EXPECT_EQ(lines[2], "whole");
}

TEST(LogStream, AWriterThatDiedBetweenLinesLeavesNoEmptyLine) {
  Pipe pipe;
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    if (pipe.sink().turn->TryLock() != SharedMutex::Outcome::kLocked) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFSIGNALED(status));
  LogStream stream(pipe.sink());
  stream.buffer() = "whole\n";
  EXPECT_TRUE(stream.Flush());
  EXPECT_EQ(pipe.Take(), "whole\n");
}

TEST(LogStream, AStuckProgramCostsTheOldestLinesAndTheyAreCounted) {
  Pipe pipe;
  LogStream stream(pipe.sink());
  pipe.Fill(4096);
  const std::string line(1023, 'x');
  const size_t lines = LogStream::kMaxBuffered / 1024 + 100;
  for (size_t i = 0; i < lines; ++i) stream.buffer() += line + "\n";
  EXPECT_FALSE(stream.Flush());
  EXPECT_LE(stream.buffer().size(), LogStream::kMaxBuffered);
  EXPECT_EQ(stream.lost_lines() + stream.buffer().size() / 1024, lines);
}

TEST(LogStream, AStuckProgramDoesNotEatTheMemoryWhenItStoppedInTheMiddleOfALine) {
  Pipe pipe(8192);
  LogStream stream(pipe.sink());
  pipe.Fill(4096);
  stream.buffer() = std::string(10239, 'a') + "\n";
  EXPECT_FALSE(stream.Flush());
  const size_t lines = LogStream::kMaxBuffered / 1024 + 100;
  for (size_t i = 0; i < lines; ++i) stream.buffer() += std::string(1023, 'x') + "\n";
  EXPECT_FALSE(stream.Flush());
  EXPECT_LE(stream.buffer().size(), LogStream::kMaxBuffered + 10240);
  EXPECT_GE(stream.lost_lines(), 100u);
  std::string got = pipe.Take();
  while (!stream.Flush()) got += pipe.Take();
  got += pipe.Take();
  const auto all = Lines(got);
  EXPECT_TRUE(all[1] == std::string(10239, 'a')) << "the line that was half written must be completed";
  for (const std::string& line : all) ASSERT_TRUE(IsOneLetter(line));
}

TEST(LogStream, LinesForAProgramThatIsGoneAreCountedAsLost) {
  ::signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  LogStream stream(pipe.sink());
  pipe.CloseReadEnd();
  stream.buffer() = "one\ntwo\n";
  EXPECT_TRUE(stream.Flush());
  EXPECT_EQ(stream.lost_lines(), 2u);
  EXPECT_EQ(pipe.sink().turn->TryLock(), SharedMutex::Outcome::kLocked) << "the turn was not given back";
  pipe.sink().turn->Unlock();
}

TEST(LogStream, AFileTakesEverythingInOneGo) {
  char path[] = "/tmp/log_stream_test.XXXXXX";
  LogSink sink;
  sink.fd = os::Fd(::mkstemp(path));
  ASSERT_TRUE(sink.fd.valid());
  LogStream stream(sink);
  for (int i = 0; i < 1000; ++i) stream.buffer() += std::string(300, 'z') + "\n";
  EXPECT_TRUE(stream.Flush());
  EXPECT_EQ(::lseek(sink.fd.get(), 0, SEEK_END), 301000);
  ::unlink(path);
}

TEST(LogStream, AFullDiskMakesLinesWaitAndNotVanish) {
  LogSink sink;
  sink.fd = os::Fd(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(sink.fd.valid());
  LogStream stream(sink);
  stream.buffer() = "a line\n";
  EXPECT_FALSE(stream.Flush());
  EXPECT_EQ(stream.buffer(), "a line\n");
  EXPECT_EQ(stream.lost_lines(), 0u);
}

TEST(SharedMutex, OneHolderAtATimeAndAKilledHolderIsReported) {
  auto mutex = SharedMutex::Make().value();
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    const char answer = mutex->TryLock() == SharedMutex::Outcome::kLocked ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_EQ(mutex->TryLock(), SharedMutex::Outcome::kBusy);
  ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(mutex->TryLock(), SharedMutex::Outcome::kLockedAfterDeath);
  mutex->Unlock();
  EXPECT_EQ(mutex->TryLock(), SharedMutex::Outcome::kLocked);
  mutex->Unlock();
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace httpd::log
