// Does with a bundle what a program does, through g4rt.h and g4rt.hpp, and prints the ids. For sanitizers, and for
// machines without Python.
//
//   rt_driver BUNDLE LIBONNXRUNTIME LIBG4OPS SCRATCH [PART...]
//
// SCRATCH: a folder that is empty. Parts: answers, refusals, threads, files; without one, all. The last line says how
// many things were wrong.
#include <cmath>
#include <cstring>

#include "rt_driver.h"

namespace g4::test {
namespace {

constexpr float kOtherOrder = 1e-3f;  // of logits up to 10: a token and a prompt are summed in several orders

void print(const char* name, const Ids& ids) {
  std::printf("%s:", name);
  for (const std::int32_t id : ids) std::printf(" %d", id);
  std::printf("\n");
}

std::string streamed(const g4rt::Model& model, const Ids& ids) {
  g4rt_stream* stream = nullptr;
  g4rt::check(g4rt_stream_create(model.get(), &stream));
  std::string found;
  const char* text = nullptr;
  std::size_t bytes = 0;
  for (const std::int32_t id : ids) {
    g4rt::check(g4rt_stream_push(stream, id, &text, &bytes));
    found.append(text, bytes);
  }
  g4rt::check(g4rt_stream_end(stream, &text, &bytes));
  found.append(text, bytes);
  g4rt_stream_destroy(stream);
  return found;
}

void texts(const g4rt::Model& model) {
  const std::string text = "Hello, world! Gr\xC3\xBC\xC3\x9F" "e \xE4\xB8\x96\xE7\x95\x8C \xF0\x9F\x8E\x89 <bos>12";
  const Ids ids = model.encode(text);
  print("encoded", ids);
  EXPECT(streamed(model, ids) == model.decode(ids));
  Ids all;
  for (std::int32_t id = 0; id < model.facts().vocab_size; ++id) all.push_back(id);
  EXPECT(streamed(model, all) == model.decode(all));
  EXPECT(model.decode({}).empty());
  if (!model.facts().chat) return;
  const std::string chat = model.render_chat(R"({"messages": [{"role": "system", "content": "Be brief."},
      {"role": "user", "content": [{"type": "text", "text": "Hi \u00e9"}]}], "tools": null})");
  print("chat", model.encode(chat));
}

// A conversation goes on where it stands, and begins anew where its session was used otherwise, or the turns differ.
void conversations(const g4rt::Model& model) {
  g4rt::Answer how;
  how.max_new_tokens = 1;  // which is not appended: the next turn begins with the whole prompt before
  const auto answered = [&](g4rt::Conversation& talk, const std::string& prompt) {
    Ids found;
    talk.answer(prompt, [&](std::int32_t id, std::string_view) { return found.push_back(id), true; }, how);
    EXPECT(talk.session().length() == model.encode(prompt).size());
    return found;
  };
  g4rt::Conversation talk(model);
  std::string prompt;
  const auto turn = [&](const std::string& text) {
    g4rt::Conversation fresh(model);
    prompt += text;
    EXPECT(answered(talk, prompt) == answered(fresh, prompt));
  };
  turn("Hello, world");
  turn(" and more");
  talk.session().prefill({5, 6});
  turn(" of it");
  talk.session().reset();
  turn(" all");
  prompt = "Something else";
  turn(" now");
}

void states(const Given& given, const g4rt::Model& model, const Ids& ids) {
  const std::string path = given.scratch + "/state";
  g4rt::Session session(model), other(model);
  session.save(path);
  other.prefill(ids);
  other.restore(path);
  EXPECT(other.length() == 0);
  session.prefill(ids);
  session.save(path);
  const std::vector<float> logits = session.logits();
  const Ids expected = answer(session, {7}, {});
  other.restore(path);
  EXPECT(other.logits() == logits);
  EXPECT(answer(other, {7}, {}) == expected);
  other.save(path);  // over the old one
  session.restore(path);
  EXPECT(session.length() == other.length());
}

void steps(const g4rt::Model& model, const Ids& ids) {
  g4rt::Session session(model);
  session.prefill(ids);
  const std::vector<float> whole = session.logits();
  session.rewind(2);
  session.decode(ids[ids.size() - 2]);
  session.decode(ids.back());
  EXPECT(session.length() == ids.size());
  const std::vector<float> again = session.logits();
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT(std::abs(again[i] - whole[i]) < kOtherOrder);
  g4rt_sampler* sampler = nullptr;
  g4rt::check(g4rt_sampler_create(nullptr, &sampler));
  std::int32_t likeliest = -1;
  g4rt::check(g4rt_sampler_choose(sampler, whole.data(), whole.size(), &likeliest));
  g4rt_sampler_destroy(sampler);
  session.reset();
  g4rt::Answer one;
  one.max_new_tokens = 1;
  EXPECT(answer(session, ids, one) == Ids{likeliest});
  const g4rt_memory memory = session.memory();
  EXPECT(memory.weight_bytes == model.facts().weight_bytes && memory.kv_bytes > 0);
}

}  // namespace

void answers(const Given& given) {
  const g4rt::Model model(given.bundle, given.options());
  const g4rt_facts facts = model.facts();
  std::size_t count = 0;
  Ids stops(16);
  g4rt::check(g4rt_model_stop_tokens(model.get(), stops.data(), stops.size(), &count));
  stops.resize(count);
  print("facts", {facts.vocab_size, facts.context, facts.bos_token_id, facts.pad_token_id, facts.text, facts.chat,
                  facts.image, facts.audio});
  print("stops", stops);
  if (facts.text) texts(model), conversations(model);
  const Ids ids = prompt(facts, 40);
  g4rt::Session session(model);
  g4rt::Answer how;
  how.max_new_tokens = 60;
  print("greedy", answer(session, ids, how));
  session.reset();
  how.sampling = {0.9, 40, 0.95, 1, 11};
  print("seeded", answer(session, ids, how));
  print("goes on", answer(session, {9, 8}, how));
  states(given, model, ids);
  steps(model, ids);
  if (!facts.image && !facts.audio) return;
  const Mixed mixed(model, facts);
  const Ids placed = model.encode(mixed.text, mixed.media);
  print("placed", placed);
  session.reset();
  how.media = mixed.media;
  how.sampling = {};
  print("seen and heard", answer(session, placed, how));
}

}  // namespace g4::test

int main(int count, char** words) {
  using namespace g4::test;
  if (count < 5) return std::printf("rt_driver BUNDLE LIBONNXRUNTIME LIBG4OPS SCRATCH [PART...]\n"), 2;
  const Given given{words[1], words[2], words[3], words[4]};
  const struct {
    const char* name;
    void (*run)(const Given&);
  } parts[] = {{"answers", answers}, {"refusals", refusals}, {"threads", threads}, {"files", files}};
  for (const auto& part : parts) {
    bool wanted = count == 5;
    for (int i = 5; i < count; ++i) wanted |= std::strcmp(words[i], part.name) == 0;
    if (!wanted) continue;
    try {
      part.run(given);
    } catch (const std::exception& error) {
      ++wrong;
      std::printf("WRONG %s: %s\n", part.name, error.what());
    }
  }
  std::printf("%d wrong\n", wrong.load());
  return wrong != 0;
}
