/* Ids that libg4rt generates, as a program for machines on which no Python runs: the greedy answer, then one a seed.
 *
 *   rt_tokens BUNDLE ONNXRUNTIME OPS IDS TOKENS [-i RGB WIDTH HEIGHT BUDGET] [SEED...]
 *
 * IDS: "2,5,9". RGB: a file with uint8 [HEIGHT, WIDTH, 3]. A line an answer; before them one with the bits of the logits
 * behind the prompt, float32 in hexadecimal.
 */
#include <g4rt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kMostIds = 1 << 16 };

static void check(g4rt_status status, const char* what) {
  if (!status) return;
  fprintf(stderr, "%s: %s: %s\n", what, g4rt_status_name(status), g4rt_last_error());
  exit(1);
}

static int32_t show(void* user, int32_t id, const char* text, size_t bytes) {
  (void)user, (void)text, (void)bytes;
  if (id >= 0) printf("%" PRId32 " ", id);
  return 0;
}

static g4rt_media* image_of(const g4rt_model* model, char** words) {
  const int32_t width = atoi(words[1]), height = atoi(words[2]);
  const size_t bytes = (size_t)width * (size_t)height * 3;
  uint8_t* rgb = malloc(bytes);
  FILE* file = fopen(words[0], "rb");
  if (!rgb || !file || fread(rgb, 1, bytes, file) != bytes) {
    fprintf(stderr, "%s: not %zu bytes\n", words[0], bytes);
    exit(1);
  }
  fclose(file);
  g4rt_media* media = NULL;
  check(g4rt_image_create(model, rgb, width, height, atoi(words[3]), &media), "image");
  free(rgb);
  return media;
}

int main(int count, char** words) {
  if (count < 6) {
    fprintf(stderr, "usage: rt_tokens BUNDLE ONNXRUNTIME OPS IDS TOKENS [-i RGB WIDTH HEIGHT BUDGET] [SEED...]\n");
    return 2;
  }
  const g4rt_options options = {.threads = 1, .onnxruntime = words[2], .ops = words[3]};
  g4rt_model* model = NULL;
  g4rt_session* session = NULL;
  g4rt_media* media = NULL;
  check(g4rt_open(words[1], &options, &model), "open");
  check(g4rt_session_create(model, &session), "session");

  static int32_t ids[kMostIds];
  size_t tokens = 0, values = 0;
  for (char* word = strtok(words[4], ","); word && tokens < kMostIds; word = strtok(NULL, ",")) ids[tokens++] = atoi(word);
  int seeds = 6;
  if (count > 10 && !strcmp(words[6], "-i")) media = image_of(model, words + 7), seeds = 11;
  const g4rt_media* const given[] = {media};

  const float* logits = NULL;
  check(g4rt_session_prefill(session, ids, tokens, given, media != NULL), "prefill");
  check(g4rt_session_logits(session, &logits, &values), "logits");
  for (size_t i = 0; i < values; ++i) {
    uint32_t bits;
    memcpy(&bits, logits + i, sizeof bits);
    printf("%08" PRIx32, bits);
  }
  for (int next = seeds - 1; next < count; ++next) { /* the first is the greedy one */
    g4rt_sampling sampling = {.temperature = 0.9, .top_k = 40, .top_p = 0.95, .seeded = 1};
    if (next >= seeds) sampling.seed = strtoull(words[next], NULL, 10);
    check(g4rt_session_reset(session), "reset");
    printf("\n");
    check(g4rt_session_generate(session, ids, tokens, given, media != NULL, next < seeds ? NULL : &sampling,
                                (size_t)atoi(words[5]), show, NULL, NULL),
          "generate");
  }
  printf("\n");
  g4rt_media_destroy(media);
  g4rt_session_destroy(session);
  g4rt_close(model);
  return 0;
}
