// What G4rt.kt calls. A failure of libg4rt is thrown in Kotlin as G4rtException, with its status and words.
#include <jni.h>

#include <exception>
#include <new>
#include <string>
#include <vector>

#include "g4rt.hpp"

namespace {

struct Chat {
  explicit Chat(const std::string& folder, const g4rt_options& options) : model(folder, options), session(model) {}
  g4rt::Model model;
  g4rt::Session session;
};

Chat& chat_of(jlong handle) { return *reinterpret_cast<Chat*>(handle); }

void raise(JNIEnv* env, int status, const char* words) {
  if (env->ExceptionCheck()) return;  // what Kotlin has thrown goes on
  const jclass type = env->FindClass("dev/g4compile/g4rt/G4rtException");
  const jmethodID make = type ? env->GetMethodID(type, "<init>", "(I[B)V") : nullptr;
  if (!make) return;
  const auto size = static_cast<jsize>(std::char_traits<char>::length(words));
  const jbyteArray text = env->NewByteArray(size);
  if (!text) return;
  env->SetByteArrayRegion(text, 0, size, reinterpret_cast<const jbyte*>(words));
  env->Throw(static_cast<jthrowable>(env->NewObject(type, make, static_cast<jint>(status), text)));
}

template <class Body>
auto guarded(JNIEnv* env, const Body& body) -> decltype(body()) {
  using Result = decltype(body());
  try {
    return body();
  } catch (const g4rt::Error& error) {
    raise(env, error.status, error.what());
  } catch (const std::bad_alloc&) {
    raise(env, G4RT_MACHINE, "there is not enough memory");
  } catch (const std::exception& error) {
    raise(env, G4RT_DEFECT, error.what());
  }
  return Result();
}

// UTF-8 both ways as bytes: strings of JNI are not UTF-8 beyond 16 bits.
std::string text_of(JNIEnv* env, jbyteArray given) {
  std::string text(static_cast<std::size_t>(env->GetArrayLength(given)), '\0');
  env->GetByteArrayRegion(given, 0, static_cast<jsize>(text.size()), reinterpret_cast<jbyte*>(text.data()));
  return text;
}

jbyteArray bytes_of(JNIEnv* env, std::string_view text) {
  const jbyteArray bytes = env->NewByteArray(static_cast<jsize>(text.size()));
  if (bytes) env->SetByteArrayRegion(bytes, 0, static_cast<jsize>(text.size()), reinterpret_cast<const jbyte*>(text.data()));
  return bytes;
}

}  // namespace

extern "C" {

JNIEXPORT jlong JNICALL Java_dev_g4compile_g4rt_G4rt_open(JNIEnv* env, jclass, jbyteArray folder, jint threads,
                                                          jint capacity) {
  return guarded(env, [&]() -> jlong {
    g4rt_options options = {};
    options.threads = threads;
    options.capacity = capacity;
    return reinterpret_cast<jlong>(new Chat(text_of(env, folder), options));
  });
}

JNIEXPORT void JNICALL Java_dev_g4compile_g4rt_G4rt_close(JNIEnv*, jclass, jlong handle) {
  delete reinterpret_cast<Chat*>(handle);
}

JNIEXPORT jbyteArray JNICALL Java_dev_g4compile_g4rt_G4rt_renderChat(JNIEnv* env, jclass, jlong handle, jbyteArray json) {
  return guarded(env, [&] { return bytes_of(env, chat_of(handle).model.render_chat(text_of(env, json))); });
}

JNIEXPORT jint JNICALL Java_dev_g4compile_g4rt_G4rt_generate(JNIEnv* env, jclass, jlong handle, jbyteArray prompt,
                                                             jint most, jdouble temperature, jint top_k, jdouble top_p,
                                                             jobject take) {
  return guarded(env, [&]() -> jint {
    const jmethodID call = env->GetMethodID(env->GetObjectClass(take), "take", "([B)Z");
    if (!call) return 0;
    g4rt::Answer how;
    how.max_new_tokens = static_cast<std::size_t>(most < 0 ? 0 : most);
    how.sampling.temperature = temperature;
    how.sampling.top_k = top_k;
    how.sampling.top_p = top_p;
    const auto give = [&](std::int32_t, std::string_view text) {
      const jbyteArray piece = bytes_of(env, text);
      const bool more = piece && env->CallBooleanMethod(take, call, piece) && !env->ExceptionCheck();
      env->DeleteLocalRef(piece);
      return more;
    };
    Chat& chat = chat_of(handle);
    return static_cast<jint>(chat.session.generate(chat.model.encode(text_of(env, prompt)), give, how));
  });
}

JNIEXPORT void JNICALL Java_dev_g4compile_g4rt_G4rt_reset(JNIEnv* env, jclass, jlong handle) {
  guarded(env, [&] { chat_of(handle).session.reset(); });
}

JNIEXPORT void JNICALL Java_dev_g4compile_g4rt_G4rt_cancel(JNIEnv*, jclass, jlong handle) {
  chat_of(handle).session.cancel();
}

JNIEXPORT void JNICALL Java_dev_g4compile_g4rt_G4rt_save(JNIEnv* env, jclass, jlong handle, jbyteArray path) {
  guarded(env, [&] { chat_of(handle).session.save(text_of(env, path)); });
}

JNIEXPORT void JNICALL Java_dev_g4compile_g4rt_G4rt_restore(JNIEnv* env, jclass, jlong handle, jbyteArray path) {
  guarded(env, [&] { chat_of(handle).session.restore(text_of(env, path)); });
}

}  // extern "C"
