#include "placeholders.h"

#include <algorithm>
#include <array>

#include "../failure.h"
#include "words.h"

namespace g4::rt {
namespace {

// How a kind is written in a prompt.
struct Form {
  Kind kind;
  const char* name;
  const TokenSpec& token;
  const std::string &begin, &end;
};

std::array<Form, 2> forms_of(const MediaSpec& spec) {
  return {Form{Kind::kImage, "image", spec.image, spec.boi, spec.eoi},
          Form{Kind::kSound, "sound", spec.audio, spec.boa, spec.eoa}};
}

[[noreturn]] void refuse_video(const std::string& found) {
  fail(G4RT_UNSUPPORTED, "the prompt has a placeholder of a video, " + found +
                             ", and this runtime reads no videos: give its frames as images");
}

bool stands_at(std::string_view text, std::size_t at, std::string_view word) {
  return !word.empty() && text.compare(at, word.size(), word) == 0;
}

void check_counts(const Form& form, std::size_t places, std::size_t given) {
  if (places == given) return;
  const std::size_t first = std::min(places, given) + 1, last = std::max(places, given);
  const std::string which =
      std::to_string(first) + (first == last ? "" : " to " + std::to_string(last)) + " of " + std::to_string(last);
  const std::string lacks =
      given > places ? form.name + (" " + which + " has no place") : "place " + which + " has no " + form.name;
  fail(G4RT_BAD_ARGUMENT, form.token.text + " stands " + std::to_string(places) +
                              " times in the prompt, and the number of " + form.name + "s is " + std::to_string(given) +
                              ": " + lacks + ". Write " + form.token.text + " where each " + form.name + " belongs");
}

std::vector<std::int64_t> tokens_of(Kind kind, const std::vector<Item>& media) {
  std::vector<std::int64_t> found;
  for (const Item& item : media)
    if (item.kind == kind) found.push_back(item.tokens);
  return found;
}

std::int64_t sum(const std::vector<std::int64_t>& numbers) {
  std::int64_t total = 0;
  for (const std::int64_t number : numbers) total += number;
  return total;
}

std::vector<std::int64_t> places_of_token(const std::int32_t* ids, std::size_t count, const TokenSpec& token) {
  std::vector<std::int64_t> found;
  for (std::size_t i = 0; i < count; ++i)
    if (ids[i] == token.id) found.push_back(static_cast<std::int64_t>(i));
  return found;
}

void refuse_videos(const std::int32_t* ids, std::size_t count, const MediaSpec& spec) {
  if (std::find(ids, ids + count, spec.video.id) != ids + count) refuse_video("token " + std::to_string(spec.video.id));
}

}  // namespace

std::string write_out(std::string_view text, const std::vector<Item>& media, const MediaSpec& spec) {
  const auto forms = forms_of(spec);
  std::array<std::vector<std::int64_t>, 2> given;
  std::array<std::size_t, 2> met{};
  for (std::size_t f = 0; f < forms.size(); ++f) given[f] = tokens_of(forms[f].kind, media);
  std::string made;
  for (std::size_t at = 0; at < text.size();) {
    const auto form =
        std::find_if(forms.begin(), forms.end(), [&](const Form& one) { return stands_at(text, at, one.token.text); });
    if (form == forms.end()) {
      if (stands_at(text, at, spec.video.text)) refuse_video(spec.video.text);
      made += text[at++];
      continue;
    }
    const auto f = static_cast<std::size_t>(form - forms.begin());
    if (met[f] < given[f].size()) {  // others are counted, and refused below
      made += form->begin;
      for (std::int64_t left = given[f][met[f]]; left > 0; --left) made += form->token.text;
      made += form->end;
    }
    ++met[f];
    at += form->token.text.size();
  }
  for (std::size_t f = 0; f < forms.size(); ++f) check_counts(forms[f], met[f], given[f].size());
  return made;
}

void check_written_out(const std::int32_t* ids, std::size_t count, const std::vector<Item>& media,
                       const MediaSpec& spec) {
  refuse_videos(ids, count, spec);
  for (const Form& form : forms_of(spec)) {
    std::vector<std::int64_t> runs;
    std::int64_t last = -2;
    for (const std::int64_t place : places_of_token(ids, count, form.token)) {
      if (place > last + 1) runs.push_back(0);
      ++runs.back();
      last = place;
    }
    const std::vector<std::int64_t> wanted = tokens_of(form.kind, media);
    if (runs == wanted) continue;
    const auto told = [](const std::vector<std::int64_t>& found) {
      return grouped(sum(found)) + " times in " + grouped(static_cast<std::int64_t>(found.size())) + " runs";
    };
    fail(G4RT_BAD_BUNDLE, "the ids of the prompt do not hold " + form.token.text + " as it was written out: token " +
                              std::to_string(form.token.id) + " stands there " + told(runs) + ", and was written " +
                              told(wanted) + ". Compile with the tokenizer and the config of one checkpoint");
  }
}

Places places_of(const std::int32_t* ids, std::size_t count, const std::vector<Item>& media, const MediaSpec& spec) {
  refuse_videos(ids, count, spec);
  Places found;
  found.items.resize(media.size());
  for (const Form& form : forms_of(spec)) {
    std::vector<std::int64_t> places = places_of_token(ids, count, form.token);
    const std::int64_t tokens = sum(tokens_of(form.kind, media));
    if (static_cast<std::int64_t>(places.size()) != tokens)
      fail(G4RT_BAD_ARGUMENT, "the prompt has " + grouped(static_cast<std::int64_t>(places.size())) + " times " +
                                  form.token.text + ", and its " + form.name + "s have " + grouped(tokens) +
                                  " tokens: write token " + std::to_string(form.token.id) +
                                  " once for each token, as g4rt_encode does");
    auto next = places.begin();
    for (std::size_t i = 0; i < media.size(); ++i) {
      if (media[i].kind != form.kind) continue;
      found.items[i].assign(next, next + media[i].tokens);
      next += media[i].tokens;
    }
    if (form.kind == Kind::kImage) found.seen = std::move(places);
  }
  return found;
}

}  // namespace g4::rt
