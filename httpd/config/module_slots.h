#pragma once

#include <memory>
#include <utility>
#include <vector>

namespace httpd::config {

/// What one module was told in one place of the configuration: at the top, in a <VirtualHost>, in a section. Values
/// only; immutable once the configuration is read, so that all loops share it.
class ModuleSettings {
 public:
  virtual ~ModuleSettings() = default;

  /// A new value: `*this` (the outer place) and then `inner`, which wins where both speak. `inner` is of the same type.
  virtual std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& inner) const = 0;
};

/// The settings of all modules in one place, found by their type. Most places hold none or one: a list is enough.
class ModuleSlots {
 public:
  /// While reading: the value to write into. Made when it is missing.
  template <class T>
  T& Own() {
    for (auto& [key, value] : slots_) {
      if (key == KeyOf<T>()) return static_cast<T&>(*value);
    }
    slots_.emplace_back(KeyOf<T>(), std::make_shared<T>());
    return static_cast<T&>(*slots_.back().second);
  }

  /// nullptr: nothing was said.
  template <class T>
  const T* Find() const {
    for (const auto& [key, value] : slots_) {
      if (key == KeyOf<T>()) return static_cast<const T*>(value.get());
    }
    return nullptr;
  }

  /// Takes over what `inner` says; values are shared as long as nothing has to be merged.
  void Merge(const ModuleSlots& inner) {
    for (const auto& [key, value] : inner.slots_) {
      bool merged = false;
      for (auto& [own_key, own] : slots_) {
        if (own_key != key) continue;
        own = own->MergedWith(*value);
        merged = true;
      }
      if (!merged) slots_.emplace_back(key, value);
    }
  }

  bool empty() const { return slots_.empty(); }

 private:
  template <class T>
  static const void* KeyOf() {
    static const char key = 0;
    return &key;
  }
  std::vector<std::pair<const void*, std::shared_ptr<ModuleSettings>>> slots_;
};

}  // namespace httpd::config
