// Answers a prompt from C++, goes back, and answers it in another way: g4rt.hpp in one page.
//
//   g4compile embed BUNDLE -o app --platform linux
//   c++ -std=c++17 -I app/include examples/generate.cc -L app/lib -lg4rt -Wl,-rpath,app/lib -o generate
//   ./generate app/bundle "Tell me a story." 64
#include <cstdlib>
#include <g4rt.hpp>
#include <iostream>

int main(int count, char** words) {
  if (count != 4) {
    std::cerr << "usage: generate BUNDLE PROMPT TOKENS\n";
    return 2;
  }
  try {
    const g4rt::Model model(words[1]);
    g4rt::Session session(model);
    const auto ids = model.encode(words[2]);
    const auto show = [](std::int32_t, std::string_view text) {
      std::cout << text << std::flush;
      return true;  // go on
    };

    g4rt::Answer how;  // greedy
    how.max_new_tokens = static_cast<std::size_t>(std::atoi(words[3]));
    const std::size_t tokens = session.generate(ids, show, how);
    std::cout << "\n(" << tokens << " tokens behind a prompt of " << ids.size() << ")\n";

    // The prompt stays in a state that is saved behind it; here it is run once more.
    session.reset();
    session.prefill(ids);
    session.save("prompt.g4state");
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
      session.restore("prompt.g4state");
      session.rewind(1);  // the last token of the prompt gives the logits again
      how.sampling.temperature = 0.9;
      how.sampling.top_k = 40;
      how.sampling.seeded = 1;
      how.sampling.seed = seed;
      session.generate({ids.back()}, show, how);
      std::cout << "\n(with seed " << seed << ")\n";
    }
    std::cout << session.memory().kv_bytes << " bytes of keys and values\n";
  } catch (const g4rt::Error& error) {
    std::cerr << g4rt_status_name(error.status) << ": " << error.what() << "\n";
    return 1;
  }
}
