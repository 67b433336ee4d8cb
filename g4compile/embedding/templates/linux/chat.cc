// A conversation in the terminal: a line is a message, an empty line ends it. build/chat [BUNDLE]
#include <cstdio>
#include <g4rt.hpp>
#include <iostream>
#include <string>
#include <vector>

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

static std::string conversation(const std::vector<std::string>& messages) {
  std::string json;
  for (std::size_t i = 0; i < messages.size(); ++i)
    json += (i ? ",{\"role\":" : "{\"role\":") + std::string(i % 2 ? "\"assistant\"" : "\"user\"") + ",\"content\":" + quoted(messages[i]) + "}";
  return "{\"messages\":[" + json + "]}";
}

int main(int count, char** words) try {
  const g4rt::Model model(count > 1 ? words[1] : "bundle");
  g4rt::Conversation chat(model);
  const bool has_template = model.facts().chat;  // else messages are plain text, each on its own
  std::vector<std::string> messages;
  std::string line;
  for (std::cout << "> "; std::getline(std::cin, line) && !line.empty(); std::cout << "\n> ") {
    messages.push_back(line);
    g4rt::Answer how;
    how.max_new_tokens = 256;
    how.sampling.temperature = 0.7;
    how.sampling.top_k = 64;
    how.sampling.top_p = 0.95;
    std::string answer;
    const auto show = [&](std::int32_t, std::string_view text) {
      answer += text;
      std::cout << text << std::flush;
      return true;
    };
    const auto ask = [&] { chat.answer(has_template ? model.render_chat(conversation(messages)) : line, show, how); };
    try {
      try {
        ask();
      } catch (const g4rt::Error& error) {
        if (error.status != G4RT_CONTEXT_FULL || messages.size() == 1) throw;
        std::cout << "(the context is full: the conversation begins anew)\n";
        messages = {line};
        ask();
      }
      messages.push_back(answer);
    } catch (const g4rt::Error& error) {
      std::cout << "(" << error.what() << ")";
      messages.pop_back();  // this message was not answered
    }
  }
  std::cout << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
