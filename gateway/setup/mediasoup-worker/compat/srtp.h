// The part of libsrtp 3's interface (a beta, and in no Debian) that mediasoup's worker uses, made
// of libsrtp 2. C++ only: libsrtp 3's functions overload those of the same name.
//
// What differs: libsrtp 3 has an opaque policy that is filled by setters, and separate buffers with
// size_t lengths; libsrtp 2 has a plain policy struct, and works in place with int lengths.
#pragma once

// Both call their policy srtp_policy_t, and libsrtp 2's is a struct: it gets another name here.
#define srtp_policy_t srtp2_policy_t
#include <srtp2/srtp.h>
#undef srtp_policy_t

#include <array>
#include <climits>
#include <cstring>
#include <new>

// Errors that are new in libsrtp 3. Macros rather than constants: later releases of libsrtp 2 have
// one of them as an enumerator, which a constant would redeclare.
#define srtp_err_status_cryptex_err static_cast<srtp_err_status_t>(28)
#define srtp_err_status_buffer_small static_cast<srtp_err_status_t>(31)

struct srtp_policy_ctx {
  srtp2_policy_t policy{};
  srtp_profile_t profile{srtp_profile_reserved};
  // Master key and salt, one after the other, as libsrtp 2 takes them.
  std::array<uint8_t, SRTP_MAX_KEY_LEN> key{};
};
using srtp_policy_t = srtp_policy_ctx*;

inline srtp_err_status_t srtp_policy_create(srtp_policy_t* policy) {
  *policy = new (std::nothrow) srtp_policy_ctx;
  return *policy != nullptr ? srtp_err_status_ok : srtp_err_status_alloc_fail;
}

inline void srtp_policy_destroy(srtp_policy_t policy) {
  if (policy == nullptr) return;
  // The key is wiped through a volatile pointer: the compiler may drop a memset before delete.
  volatile uint8_t* key = policy->key.data();
  for (size_t i = 0; i < policy->key.size(); ++i) key[i] = 0;
  delete policy;
}

inline srtp_err_status_t srtp_policy_set_ssrc(srtp_policy_t policy, srtp_ssrc_t ssrc) {
  policy->policy.ssrc = ssrc;
  return srtp_err_status_ok;
}

inline srtp_err_status_t srtp_policy_set_profile(srtp_policy_t policy, srtp_profile_t profile) {
  policy->profile = profile;
  const auto error = srtp_crypto_policy_set_from_profile_for_rtp(&policy->policy.rtp, profile);
  if (error != srtp_err_status_ok) return error;
  return srtp_crypto_policy_set_from_profile_for_rtcp(&policy->policy.rtcp, profile);
}

// The lengths must be the profile's; a master key identifier (MKI) is refused, as the worker never
// sends one.
inline srtp_err_status_t srtp_policy_add_key(srtp_policy_t policy, const uint8_t* key,
                                             size_t key_bytes, const uint8_t* salt,
                                             size_t salt_bytes, const uint8_t* /*mki*/,
                                             size_t mki_bytes) {
  if (mki_bytes != 0 || key_bytes != srtp_profile_get_master_key_length(policy->profile) ||
      salt_bytes != srtp_profile_get_master_salt_length(policy->profile) ||
      key_bytes + salt_bytes > policy->key.size()) {
    return srtp_err_status_bad_param;
  }
  std::memcpy(policy->key.data(), key, key_bytes);
  std::memcpy(policy->key.data() + key_bytes, salt, salt_bytes);
  policy->policy.key = policy->key.data();
  return srtp_err_status_ok;
}

inline srtp_err_status_t srtp_policy_set_allow_repeat_tx(srtp_policy_t policy, bool allow) {
  policy->policy.allow_repeat_tx = allow ? 1 : 0;
  return srtp_err_status_ok;
}

inline srtp_err_status_t srtp_policy_set_window_size(srtp_policy_t policy, size_t packets) {
  policy->policy.window_size = packets;
  return srtp_err_status_ok;
}

// libsrtp 2 copies all that it needs, so the policy may be destroyed afterwards, as in libsrtp 3.
inline srtp_err_status_t srtp_create(srtp_t* session, srtp_policy_t policy) {
  return srtp_create(session, const_cast<const srtp2_policy_t*>(&policy->policy));
}

inline srtp_err_status_t srtp_stream_remove(srtp_t session, uint32_t ssrc) {
  return srtp_remove_stream(session, ssrc);
}

using srtp2_in_place = srtp_err_status_t (*)(srtp_t, void*, int*);

// Runs one of libsrtp 2's in-place functions on a copy in `out`. `grows_bytes` is the most that the
// function may add: `out` must have that room, and the sum must fit an int.
inline srtp_err_status_t srtp2_run(srtp2_in_place function, srtp_t session, const uint8_t* in,
                                   size_t in_bytes, uint8_t* out, size_t* out_bytes,
                                   size_t grows_bytes) {
  if (in_bytes > INT_MAX - grows_bytes || *out_bytes < in_bytes + grows_bytes) {
    return srtp_err_status_buffer_small;
  }
  if (out != in) std::memmove(out, in, in_bytes);
  int bytes = static_cast<int>(in_bytes);
  const auto error = function(session, out, &bytes);
  if (error == srtp_err_status_ok) *out_bytes = static_cast<size_t>(bytes);
  return error;
}

inline srtp_err_status_t srtp_protect(srtp_t session, const uint8_t* rtp, size_t rtp_bytes,
                                      uint8_t* srtp, size_t* srtp_bytes, size_t /*mki_index*/) {
  return srtp2_run(&srtp_protect, session, rtp, rtp_bytes, srtp, srtp_bytes,
                   SRTP_MAX_TRAILER_LEN);
}

// SRTCP adds its 31-bit index, with the E flag, to what SRTP adds (RFC 3711, 3.4).
inline srtp_err_status_t srtp_protect_rtcp(srtp_t session, const uint8_t* rtcp, size_t rtcp_bytes,
                                           uint8_t* srtcp, size_t* srtcp_bytes,
                                           size_t /*mki_index*/) {
  return srtp2_run(&srtp_protect_rtcp, session, rtcp, rtcp_bytes, srtcp, srtcp_bytes,
                   SRTP_MAX_TRAILER_LEN + 4);
}

inline srtp_err_status_t srtp_unprotect(srtp_t session, const uint8_t* srtp, size_t srtp_bytes,
                                        uint8_t* rtp, size_t* rtp_bytes) {
  return srtp2_run(&srtp_unprotect, session, srtp, srtp_bytes, rtp, rtp_bytes, 0);
}

inline srtp_err_status_t srtp_unprotect_rtcp(srtp_t session, const uint8_t* srtcp,
                                             size_t srtcp_bytes, uint8_t* rtcp,
                                             size_t* rtcp_bytes) {
  return srtp2_run(&srtp_unprotect_rtcp, session, srtcp, srtcp_bytes, rtcp, rtcp_bytes, 0);
}
