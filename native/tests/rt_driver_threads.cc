// Threads on one model, and on one session; callbacks that end, throw and call; and handles that outlive their model.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <thread>

#include "rt_driver.h"

namespace g4::test {
namespace {

constexpr int kThreads = 4;

void together(const std::function<void(int)>& body) {
  std::vector<std::thread> all;
  for (int number = 0; number < kThreads; ++number)
    all.emplace_back([&body, number] {
      try {
        body(number);
      } catch (const std::exception& error) {
        expect(false, error.what(), __FILE__, __LINE__);
      }
    });
  for (std::thread& one : all) one.join();
}

// Sessions, texts, media and failures of four threads: each gets what one alone gets.
void on_one_model(const g4rt::Model& model, const g4rt_facts& facts) {
  const Ids ids = prompt(facts, 30);
  g4rt::Answer how;
  how.max_new_tokens = 25;
  how.sampling = {0.8, 0, 0, 1, 3};
  const std::string text = "Threads \xF0\x9F\x8E\x89 of 1 model";
  Ids expected, encoded;
  {
    g4rt::Session session(model);
    expected = answer(session, ids, how);
    if (facts.text) encoded = model.encode(text);
  }
  together([&](int number) {
    g4rt::Session session(model);
    for (int turn = 0; turn < 2; ++turn) {
      EXPECT(answer(session, ids, how) == expected);
      if (facts.text) EXPECT(model.encode(text) == encoded && model.decode(encoded).find("Threads") != std::string::npos);
      const auto wrong_id = -1 - number;
      EXPECT(g4rt_session_decode(session.get(), wrong_id) == G4RT_BAD_ARGUMENT);
      EXPECT(std::string(g4rt_last_error()).find("the token id " + std::to_string(wrong_id)) == 0);
      session.reset();
    }
  });
}

// The encoders are opened by the first of the threads that need them.
void seen_and_heard(const Given& given) {
  const g4rt::Model model(given.bundle, given.options());
  const g4rt_facts facts = model.facts();
  if (!facts.image && !facts.audio) return;
  std::vector<Ids> found(kThreads);
  together([&](int number) {
    const Mixed mixed(model, facts);
    g4rt::Session session(model);
    g4rt::Answer how;
    how.max_new_tokens = 8;
    how.media = mixed.media;
    found[static_cast<std::size_t>(number)] = answer(session, model.encode(mixed.text, mixed.media), how);
  });
  for (const Ids& one : found) EXPECT(!one.empty() && one == found.front());
}

void models_beside_each_other(const Given& given) {
  const std::string cache = given.scratch + "/cache";
  std::filesystem::create_directory(cache);
  std::filesystem::permissions(cache, std::filesystem::perms::owner_all);
  together([&](int number) {
    g4rt_options options = given.options();
    if (number % 2) options.cache_folder = cache.c_str();
    const g4rt::Model model(given.bundle, options);
    g4rt::Session session(model);
    session.prefill(prompt(model.facts(), 9));
    EXPECT(session.length() == 9);
  });
}

// A session takes one call at a time, and another thread may end it.
void on_one_session(const g4rt::Model& model, const g4rt_facts& facts) {
  g4rt::Session session(model);
  const Ids ids = prompt(facts, 20);
  session.prefill(ids);
  const std::vector<float> before = session.logits();
  std::atomic<bool> in_call{false}, refused{false};
  std::thread caller([&] {
    const auto take = [](void* user, std::int32_t, const char*, std::size_t) -> std::int32_t {
      *static_cast<std::atomic<bool>*>(user) = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return 0;
    };
    const std::int32_t next = 7;
    g4rt_status status = G4RT_OK;
    do {  // until the other thread was there while it ran; between two calls it may have the turn
      while (g4rt_session_reset(session.get()) == G4RT_BUSY) std::this_thread::yield();
      status = g4rt_session_generate(session.get(), &next, 1, nullptr, 0, nullptr, 400, take, &in_call, nullptr);
    } while (status == G4RT_OK || status == G4RT_BUSY);
    EXPECT(status == G4RT_CANCELLED);
  });
  while (!in_call) std::this_thread::yield();
  for (int i = 0; i < 1000 && !refused; ++i) refused = g4rt_session_decode(session.get(), 5) == G4RT_BUSY;
  EXPECT(refused);
  g4rt_session_length(session.get());
  std::atomic<bool> ended{false};
  std::thread canceller([&] {
    while (!ended) session.cancel();
  });
  caller.join();
  ended = true;
  canceller.join();
  session.reset();
  session.prefill(ids);
  EXPECT(session.logits() == before);
}

void callbacks(const g4rt::Model& model, const g4rt_facts& facts) {
  g4rt::Session session(model);
  const Ids ids = prompt(facts, 12);
  const auto generate = [&](g4rt_on_token take, void* user) {
    session.reset();
    return g4rt_session_generate(session.get(), ids.data(), ids.size(), nullptr, 0, nullptr, 9, take, user, nullptr);
  };
  const auto ends = [](void*, std::int32_t, const char*, std::size_t) -> std::int32_t { return 1; };
  REFUSED(generate(ends, nullptr), G4RT_CANCELLED, "the callback ended the answer");
  EXPECT(session.length() == ids.size());
  const auto throws = [](void*, std::int32_t, const char*, std::size_t) -> std::int32_t { throw std::runtime_error("no more"); };
  REFUSED(generate(throws, nullptr), G4RT_CANCELLED, "threw an exception, which ended the answer: no more");
  EXPECT(session.length() == ids.size());
  const auto throws_a_number = [](void*, std::int32_t, const char*, std::size_t) -> std::int32_t { throw 5; };
  REFUSED(generate(throws_a_number, nullptr), G4RT_CANCELLED, "an exception of an unknown type");
  const auto calls = [](void* user, std::int32_t, const char*, std::size_t) -> std::int32_t {
    auto* of = static_cast<g4rt_session*>(user);
    REFUSED(g4rt_session_decode(of, 5), G4RT_BUSY, "another thread");
    REFUSED(g4rt_session_save(of, "x"), G4RT_BUSY, "another thread");
    EXPECT(g4rt_session_length(of) == 0);
    g4rt_session_cancel(of);
    return 0;
  };
  REFUSED(generate(calls, session.get()), G4RT_CANCELLED, "the call was cancelled");
  try {
    session.generate(ids, [](std::int32_t, std::string_view) -> bool { throw std::logic_error("mine"); });
    EXPECT(false);
  } catch (const std::logic_error& error) {
    EXPECT(std::string(error.what()) == "mine");
  }
}

// The order of closing is free.
void handles_outlive_their_model(const Given& given) {
  std::optional<g4rt::Model> model(std::in_place, given.bundle, given.options());
  const g4rt_facts facts = model->facts();
  std::optional<Mixed> mixed(std::in_place, *model, facts);
  g4rt::Session session(*model), other(*model);
  g4rt_stream* stream = nullptr;
  if (facts.text) g4rt::check(g4rt_stream_create(model->get(), &stream));
  const Ids ids = facts.text ? model->encode(mixed->text, mixed->media) : prompt(facts, 9);
  model.reset();
  session.prefill(ids, mixed->media);
  mixed.reset();
  const char* text = nullptr;
  std::size_t bytes = 0, sum = 0;
  for (const std::int32_t id : ids) {
    if (stream && g4rt_stream_push(stream, id, &text, &bytes) == G4RT_OK) sum += std::string(text, bytes).size();
  }
  EXPECT(!stream || sum > 0);
  g4rt_stream_destroy(stream);
  EXPECT(session.length() == ids.size() && !session.logits().empty());
}

// Each of many threads has words of its own, which are freed with it.
void failures_of_many_threads() {
  for (int i = 0; i < 20; ++i) {
    std::thread([] {
      EXPECT(std::string(g4rt_last_error()).empty());
      REFUSED(g4rt_session_reset(nullptr), G4RT_BAD_ARGUMENT, "session is NULL");
    }).join();
  }
}

}  // namespace

void threads(const Given& given) {
  for (const std::int32_t workers : {1, 3}) {  // of ONNX Runtime, beside the callers
    g4rt_options options = given.options();
    options.threads = workers;
    const g4rt::Model model(given.bundle, options);
    const g4rt_facts facts = model.facts();
    on_one_model(model, facts);
    on_one_session(model, facts);
    callbacks(model, facts);
  }
  seen_and_heard(given);
  models_beside_each_other(given);
  handles_outlive_their_model(given);
  failures_of_many_threads();
}

}  // namespace g4::test
