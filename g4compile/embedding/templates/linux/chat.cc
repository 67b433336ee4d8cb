// A conversation in the terminal: a line is a message, an empty line ends it. build/chat [BUNDLE]
#include <algorithm>
#include <cstdio>
#include <g4rt.hpp>
#include <iostream>
#include <string>

// Text as a string of JSON.
static std::string quoted(const std::string& text) {
  std::string json = "\"";
  for (const unsigned char byte : text) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
    json += byte < 0x20 || byte == '"' || byte == '\\' ? escaped : std::string(1, static_cast<char>(byte));
  }
  return json + "\"";
}

int main(int count, char** words) {
  try {
    const g4rt::Model model(count > 1 ? words[1] : "bundle");
    g4rt::Session session(model);
    const bool chats = model.facts().chat;  // else messages are plain text
    std::string messages, line;
    std::vector<std::int32_t> held;  // ids in the session
    for (std::cout << "> "; std::getline(std::cin, line) && !line.empty(); std::cout << "\n> ") {
      messages += (messages.empty() ? "" : ",") + ("{\"role\":\"user\",\"content\":" + quoted(line)) + "}";
      const std::string prompt = chats ? model.render_chat("{\"messages\":[" + messages + "]}") : line;
      std::vector<std::int32_t> ids = model.encode(prompt);
      if (ids.size() > held.size() && std::equal(held.begin(), held.end(), ids.begin())) {
        ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(held.size()));  // what is new
      } else {
        session.reset();
        held.clear();
      }
      held.insert(held.end(), ids.begin(), ids.end());
      g4rt::Answer how;
      how.max_new_tokens = 256;
      how.sampling.temperature = 0.7;
      how.sampling.top_k = 64;
      how.sampling.top_p = 0.95;
      std::string answer;
      const auto show = [&](std::int32_t id, std::string_view text) {
        if (id >= 0) held.push_back(id);
        answer += text;
        std::cout << text << std::flush;
        return true;
      };
      session.generate(ids, show, how);
      held.resize(session.length());  // the last token was given, and not appended
      messages += ",{\"role\":\"assistant\",\"content\":" + quoted(answer) + "}";
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
