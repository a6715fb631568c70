// The part of ankerl::unordered_dense that mediasoup's worker uses (map, set and hash), made of
// the standard containers, because Debian 12 has no package of it. Iteration order differs, which
// neither of them promises; references stay valid where ankerl's do not, so nothing is lost.
#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>

namespace ankerl::unordered_dense {

template <class Key>
struct hash {
  size_t operator()(const Key& key) const noexcept {
    if constexpr (std::is_integral_v<Key> || std::is_enum_v<Key>) {
      // The worker combines these hashes into others, which needs every bit spread over the whole
      // word; the standard library's hash of a number is the number. MurmurHash3's last mixing step.
      auto bits = static_cast<uint64_t>(key);
      bits = (bits ^ (bits >> 33)) * 0xff51afd7ed558ccdULL;
      bits = (bits ^ (bits >> 33)) * 0xc4ceb9fe1a85ec53ULL;
      return static_cast<size_t>(bits ^ (bits >> 33));
    } else {
      return std::hash<Key>{}(key);
    }
  }
};

template <class Key, class Value, class Hash = hash<Key>, class Equal = std::equal_to<Key>>
using map = std::unordered_map<Key, Value, Hash, Equal>;

template <class Key, class Hash = hash<Key>, class Equal = std::equal_to<Key>>
using set = std::unordered_set<Key, Hash, Equal>;

} // namespace ankerl::unordered_dense
