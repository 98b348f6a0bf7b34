#include "httpd/modules/coders.h"

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

namespace httpd::modules {

namespace {

constexpr size_t kOutputStep = 16U << 10;
constexpr size_t kRatioStep = 8U << 10;
constexpr size_t kIdleBrotliBytes = 16U << 20;  ///< blocks of brotli that a loop keeps for the next stream

/// Room for more at the end of `out`, whose real end is `used` in the meantime.
void Grow(std::string& out, size_t used) {
  if (out.size() < used + kOutputStep) out.resize(used + kOutputStep);
}

// ---- gzip ----------------------------------------------------------------------------------------------------------

struct Deflate {
  z_stream z{};
  int level = 0;
  int window = 0;
  int mem_level = 0;
  ~Deflate() { ::deflateEnd(&z); }
};

using DeflateStore = std::vector<std::unique_ptr<Deflate>>;

DeflateStore& IdleDeflates() {
  thread_local DeflateStore store;
  return store;
}

class GzipCoder final : public Coder {
 public:
  explicit GzipCoder(std::unique_ptr<Deflate> deflate) : deflate_(std::move(deflate)) {}
  ~GzipCoder() override {
    DeflateStore& store = IdleDeflates();
    if (store.size() >= kIdleCoders) store.erase(store.begin());
    store.push_back(std::move(deflate_));
  }

  bool Feed(std::string_view input, Flush flush, std::string& out) override {
    z_stream& z = deflate_->z;
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    z.avail_in = static_cast<uInt>(input.size());
    const int mode = flush == Flush::kFinish ? Z_FINISH : flush == Flush::kSync ? Z_SYNC_FLUSH : Z_NO_FLUSH;
    size_t used = out.size();
    int result = Z_OK;
    do {
      Grow(out, used);
      z.next_out = reinterpret_cast<Bytef*>(out.data() + used);
      z.avail_out = static_cast<uInt>(out.size() - used);
      result = ::deflate(&z, mode);
      used = out.size() - z.avail_out;
    } while (result == Z_OK && (z.avail_out == 0 || z.avail_in > 0 || mode == Z_FINISH));
    out.resize(used);
    // Z_BUF_ERROR: there was nothing to do, which a second flush in a row may well say.
    return result == Z_OK || result == Z_BUF_ERROR || result == Z_STREAM_END;
  }

 private:
  std::unique_ptr<Deflate> deflate_;
};

// ---- brotli --------------------------------------------------------------------------------------------------------

/// The encoder cannot be reset, but its blocks can be used again: sizes repeat from stream to stream.
class BrotliBlocks {
 public:
  ~BrotliBlocks() {
    for (const auto& [size, block] : idle_) std::free(block);
  }
  void* Take(size_t size) {
    for (auto it = idle_.rbegin(); it != idle_.rend(); ++it) {
      if (it->first != size) continue;
      void* block = it->second;
      idle_.erase(std::next(it).base());
      idle_bytes_ -= size;
      return Sized(block);
    }
    auto* raw = static_cast<size_t*>(std::malloc(size + kHead));
    if (raw == nullptr) return nullptr;
    *raw = size;
    return Sized(raw);
  }
  void Return(void* block) {
    if (block == nullptr) return;
    void* raw = static_cast<char*>(block) - kHead;
    const size_t size = *static_cast<size_t*>(raw);
    if (idle_bytes_ + size > kIdleBrotliBytes) {
      std::free(raw);
      return;
    }
    idle_.emplace_back(size, raw);
    idle_bytes_ += size;
  }

 private:
  static constexpr size_t kHead = 16;  // the size stands before the block; keeps malloc's alignment
  static void* Sized(void* raw) { return static_cast<char*>(raw) + kHead; }
  std::vector<std::pair<size_t, void*>> idle_;
  size_t idle_bytes_ = 0;
};

BrotliBlocks& Blocks() {
  thread_local BrotliBlocks blocks;
  return blocks;
}

class BrotliCoder final : public Coder {
 public:
  explicit BrotliCoder(BrotliEncoderState* state) : state_(state) {}
  ~BrotliCoder() override { ::BrotliEncoderDestroyInstance(state_); }

  bool Feed(std::string_view input, Flush flush, std::string& out) override {
    const BrotliEncoderOperation mode = flush == Flush::kFinish ? BROTLI_OPERATION_FINISH
                                        : flush == Flush::kSync ? BROTLI_OPERATION_FLUSH
                                                                : BROTLI_OPERATION_PROCESS;
    size_t left = input.size();
    const auto* next = reinterpret_cast<const uint8_t*>(input.data());
    do {
      size_t room = 0;  // none of ours: the encoder shows its own buffer
      if (!::BrotliEncoderCompressStream(state_, mode, &left, &next, &room, nullptr, nullptr)) return false;
      size_t size = 0;
      const uint8_t* data = ::BrotliEncoderTakeOutput(state_, &size);
      out.append(reinterpret_cast<const char*>(data), size);
    } while (left > 0 || ::BrotliEncoderHasMoreOutput(state_) ||
             (mode == BROTLI_OPERATION_FINISH && !::BrotliEncoderIsFinished(state_)));
    return true;
  }

 private:
  BrotliEncoderState* state_;
};

// ---- zstd ----------------------------------------------------------------------------------------------------------

struct FreeZstd {
  void operator()(ZSTD_CCtx* context) const { ::ZSTD_freeCCtx(context); }
};
using ZstdContext = std::unique_ptr<ZSTD_CCtx, FreeZstd>;

std::vector<ZstdContext>& IdleZstd() {
  thread_local std::vector<ZstdContext> store;
  return store;
}

class ZstdCoder final : public Coder {
 public:
  explicit ZstdCoder(ZstdContext context) : context_(std::move(context)) {}
  ~ZstdCoder() override {
    // A high level takes hundreds of MiB: those are not kept.
    if (IdleZstd().size() < kIdleCoders && ::ZSTD_sizeof_CCtx(context_.get()) <= (16U << 20)) {
      IdleZstd().push_back(std::move(context_));
    }
  }

  bool Feed(std::string_view input, Flush flush, std::string& out) override {
    const ZSTD_EndDirective mode = flush == Flush::kFinish ? ZSTD_e_end
                                   : flush == Flush::kSync ? ZSTD_e_flush
                                                           : ZSTD_e_continue;
    ZSTD_inBuffer in{input.data(), input.size(), 0};
    size_t used = out.size();
    size_t left = 0;
    do {
      Grow(out, used);
      ZSTD_outBuffer to{out.data() + used, out.size() - used, 0};
      left = ::ZSTD_compressStream2(context_.get(), &to, &in, mode);
      used += to.pos;
    } while (!::ZSTD_isError(left) && (in.pos < in.size || (mode != ZSTD_e_continue && left > 0)));
    out.resize(used);
    return !::ZSTD_isError(left);
  }

 private:
  ZstdContext context_;
};

}  // namespace

std::unique_ptr<Coder> MakeGzipCoder(int level, int window, int mem_level) {
  DeflateStore& store = IdleDeflates();
  for (auto it = store.begin(); it != store.end(); ++it) {
    if ((*it)->level != level || (*it)->window != window || (*it)->mem_level != mem_level) continue;
    auto deflate = std::move(*it);
    store.erase(it);
    if (::deflateReset(&deflate->z) != Z_OK) break;
    return std::make_unique<GzipCoder>(std::move(deflate));
  }
  auto deflate = std::make_unique<Deflate>();
  deflate->level = level;
  deflate->window = window;
  deflate->mem_level = mem_level;
  // 16 more: zlib writes the head and the trailer of gzip itself.
  if (::deflateInit2(&deflate->z, level, Z_DEFLATED, window + 16, mem_level, Z_DEFAULT_STRATEGY) != Z_OK) {
    return nullptr;
  }
  return std::make_unique<GzipCoder>(std::move(deflate));
}

std::unique_ptr<Coder> MakeBrotliCoder(int quality, int window, int block, uint64_t size) {
  BrotliEncoderState* state = ::BrotliEncoderCreateInstance(
      [](void* blocks, size_t wanted) { return static_cast<BrotliBlocks*>(blocks)->Take(wanted); },
      [](void* blocks, void* what) { static_cast<BrotliBlocks*>(blocks)->Return(what); }, &Blocks());
  if (state == nullptr) return nullptr;
  auto coder = std::make_unique<BrotliCoder>(state);
  const auto hint = static_cast<uint32_t>(std::min<uint64_t>(size, 1U << 30));
  if (!::BrotliEncoderSetParameter(state, BROTLI_PARAM_QUALITY, static_cast<uint32_t>(quality)) ||
      !::BrotliEncoderSetParameter(state, BROTLI_PARAM_LGWIN, static_cast<uint32_t>(window)) ||
      !::BrotliEncoderSetParameter(state, BROTLI_PARAM_LGBLOCK, static_cast<uint32_t>(block)) ||
      !::BrotliEncoderSetParameter(state, BROTLI_PARAM_SIZE_HINT, hint)) {
    return nullptr;
  }
  return coder;
}

std::unique_ptr<Coder> MakeZstdCoder(int level, int window, uint64_t size) {
  ZstdContext context;
  if (!IdleZstd().empty()) {
    context = std::move(IdleZstd().back());
    IdleZstd().pop_back();
    ::ZSTD_CCtx_reset(context.get(), ZSTD_reset_session_and_parameters);
  } else {
    context.reset(::ZSTD_createCCtx());
  }
  if (!context) return nullptr;
  constexpr int kWidestWindow = 23;
  constexpr int kLastLevelBelowIt = 19;
  const int log = window == 0 && level > kLastLevelBelowIt ? kWidestWindow : window;
  auto set = [&context](ZSTD_cParameter what, int value) {
    return !::ZSTD_isError(::ZSTD_CCtx_setParameter(context.get(), what, value));
  };
  if (!set(ZSTD_c_compressionLevel, level) || !set(ZSTD_c_windowLog, log)) return nullptr;
  if (size != 0 && ::ZSTD_isError(::ZSTD_CCtx_setPledgedSrcSize(context.get(), size))) return nullptr;
  return std::make_unique<ZstdCoder>(std::move(context));
}

// ---- the way back --------------------------------------------------------------------------------------------------

struct Inflater::Stream {
  z_stream z{};
  bool ready = false;
  ~Stream() {
    if (ready) ::inflateEnd(&z);
  }
};

Inflater::Inflater(const InflateLimits& limits) : stream_(std::make_unique<Stream>()), limits_(limits) {
  stream_->ready = ::inflateInit2(&stream_->z, 15 + 16) == Z_OK;
}

Inflater::~Inflater() = default;

Inflater::State Inflater::Feed(std::string_view& input, std::string& out, size_t most) {
  if (!stream_->ready) return State::kBroken;
  z_stream& z = stream_->z;
  const size_t end = out.size() + most;
  while (!input.empty() || !at_boundary_) {
    if (out.size() >= end) return State::kFull;
    if (at_boundary_ && started_ && ::inflateReset(&z) != Z_OK) return State::kBroken;
    started_ = true;
    at_boundary_ = false;
    const size_t before = out.size();
    const size_t room = std::min(kRatioStep, end - before);
    const size_t offered = std::min<size_t>(input.size(), 1U << 30);
    out.resize(before + room);
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    z.avail_in = static_cast<uInt>(offered);
    z.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    z.avail_out = static_cast<uInt>(room);
    const int result = ::inflate(&z, Z_NO_FLUSH);
    const size_t taken = offered - z.avail_in;
    const size_t made = room - z.avail_out;
    out.resize(before + made);
    input.remove_prefix(taken);
    in_ += taken;
    out_ += made;
    if (limits_.max_bytes != 0 && out_ > limits_.max_bytes) return State::kTooLarge;
    if (z.avail_out == 0 && in_ != 0) {
      if (out_ / in_ < static_cast<uint64_t>(limits_.ratio)) {
        hits_ = 0;
      } else if (++hits_ > limits_.burst) {
        return State::kRatio;
      }
    }
    if (result == Z_STREAM_END) {
      at_boundary_ = true;
      continue;
    }
    if (result == Z_BUF_ERROR || (result == Z_OK && taken == 0 && made == 0)) return State::kNeedsInput;
    if (result != Z_OK) return State::kBroken;
    if (input.empty() && z.avail_out != 0) return State::kNeedsInput;
  }
  return State::kNeedsInput;
}

}  // namespace httpd::modules
