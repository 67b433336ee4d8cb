/* Answers a prompt from C: ids in, text out as it becomes certain.
 *
 *   g4compile embed BUNDLE -o app --platform linux
 *   cc -I app/include examples/generate.c -L app/lib -lg4rt -Wl,-rpath,app/lib -o generate
 *   ./generate app/bundle "Tell me a story." 64
 */
#include <g4rt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char* what) {
  fprintf(stderr, "%s: %s\n", what, g4rt_last_error());
  return 1;
}

static int32_t show(void* user, int32_t id, const char* text, size_t bytes) {
  (void)user, (void)id;
  fwrite(text, 1, bytes, stdout);
  fflush(stdout);
  return 0; /* go on */
}

int main(int count, char** words) {
  if (count != 4) {
    fprintf(stderr, "usage: generate BUNDLE PROMPT TOKENS\n");
    return 2;
  }
  const char* prompt = words[2];
  g4rt_model* model = NULL;
  g4rt_session* session = NULL;
  int32_t* ids = NULL;
  size_t tokens = 0, generated = 0;
  int code = 0;

  if (g4rt_open(words[1], NULL, &model)) return failed("open");
  if (g4rt_session_create(model, &session)) code = failed("session");

  if (!code) { /* first how many ids there are, then the ids */
    g4rt_status status = g4rt_encode(model, prompt, strlen(prompt), NULL, 0, NULL, 0, &tokens);
    if (status == G4RT_NO_ROOM) {
      ids = malloc(tokens * sizeof *ids);
      status = g4rt_encode(model, prompt, strlen(prompt), NULL, 0, ids, ids ? tokens : 0, &tokens);
    }
    if (status) code = failed("encode");
  }
  g4rt_sampling sampling = {.temperature = 0.8, .top_k = 40, .top_p = 0.95, .seeded = 1, .seed = 7};
  if (!code && g4rt_session_generate(session, ids, tokens, NULL, 0, &sampling, (size_t)atoi(words[3]), show, NULL, &generated))
    code = failed("generate");
  if (!code) printf("\n(%zu tokens behind a prompt of %zu)\n", generated, tokens);

  free(ids);
  g4rt_session_destroy(session);
  g4rt_close(model);
  return code;
}
