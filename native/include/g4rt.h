/* libg4rt: runs a bundle of g4compile for onnx-cpu or onnx-mobile. Its one dependency is ONNX Runtime, which it loads;
 * bundles whose manifest requires `g4ops` need libg4ops too.
 *
 *   g4rt_model* model;
 *   g4rt_session* session;
 *   if (g4rt_open("bundle", NULL, &model) || g4rt_session_create(model, &session)) puts(g4rt_last_error());
 *
 * Functions return a status; words of the last failure of a thread are in g4rt_last_error(). Text is UTF-8. Token ids
 * are int32_t. No function throws, and none ends the process.
 *
 * A model may be used by any number of threads at once. A session is one conversation: threads may take turns, and a
 * call while another one runs gives G4RT_BUSY, except g4rt_session_cancel. A call that fails, or is cancelled, leaves the
 * session as it was before; what g4rt_session_generate has given to its callback stays.
 *
 * Results of variable size are written where the caller has room: a function takes `capacity`, sets `*count` to what there
 * is, and gives G4RT_NO_ROOM where that is more; nothing is written then. A capacity of 0 asks for the size.
 */
#ifndef G4RT_H
#define G4RT_H
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define G4RT_EXPORT __declspec(dllexport)
#else
#define G4RT_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define G4RT_API_VERSION 1

typedef enum g4rt_status {
  G4RT_OK = 0,
  G4RT_BAD_ARGUMENT = 1, /* a value that no call takes: mend the caller */
  G4RT_BAD_BUNDLE = 2,   /* the bundle, or a file with a saved state, is not whole or contradicts itself */
  G4RT_UNSUPPORTED = 3,  /* a bundle of another target, or what this bundle was not compiled for */
  G4RT_MACHINE = 4,      /* this machine lacks a library, memory or disk */
  G4RT_NO_ROOM = 5,      /* a result is larger than the room that was given for it */
  G4RT_CONTEXT_FULL = 6, /* more tokens than the session may hold */
  G4RT_BUSY = 7,         /* another thread is in a call of this session */
  G4RT_CANCELLED = 8,    /* g4rt_session_cancel, or a callback, ended the call */
  G4RT_DEFECT = 9        /* a defect of this library */
} g4rt_status;

typedef struct g4rt_model g4rt_model;     /* a bundle that is open; its weights are mapped once */
typedef struct g4rt_session g4rt_session; /* a conversation: tokens, and their keys and values */
typedef struct g4rt_media g4rt_media;     /* an image or a sound, as the model reads it */
typedef struct g4rt_stream g4rt_stream;   /* text of tokens as it becomes certain */
typedef struct g4rt_sampler g4rt_sampler; /* draws of one answer */

/* "1.0": of this library. */
G4RT_EXPORT const char* g4rt_version(void);
/* What went wrong in the last call of this thread that gave a status other than G4RT_OK. */
G4RT_EXPORT const char* g4rt_last_error(void);
/* "bad-bundle" for G4RT_BAD_BUNDLE. */
G4RT_EXPORT const char* g4rt_status_name(g4rt_status status);

/* ---- Models ---- */

/* All bits 0 is the default of each. */
typedef struct g4rt_options {
  int32_t threads;          /* of products; 0: ONNX Runtime decides */
  int32_t capacity;         /* most tokens of a session; 0: the bundle's context */
  const char* kv_dtype;     /* NULL, or "float32", "bfloat16", "int8": refuse a bundle whose keys are kept otherwise */
  const char* cache_folder; /* NULL, or a folder of this user for weights rearranged by ONNX Runtime */
  const char* onnxruntime;  /* NULL, or the file of libonnxruntime */
  const char* ops;          /* NULL, or the file of libg4ops */
} g4rt_options;

/* Opens the bundle in `folder`. NULL for `options` is the default. */
G4RT_EXPORT g4rt_status g4rt_open(const char* folder, const g4rt_options* options, g4rt_model** model);
/* Sessions, media and streams of a model keep it open: the order of closing is free. NULL is left alone. */
G4RT_EXPORT void g4rt_close(g4rt_model* model);

typedef struct g4rt_facts {
  int32_t vocab_size, bos_token_id, pad_token_id;
  int32_t context;                  /* most tokens of a session */
  int32_t text, chat, image, audio; /* 1: the bundle has a table of its tokenizer, of its chat template, an encoder */
  const char* target;               /* "onnx-cpu" */
  const char* kv_dtype;             /* "float32" */
  uint64_t weight_bytes;            /* of weights.data, which is mapped */
  uint64_t kv_bytes_per_token;      /* of layers that grow with a conversation */
} g4rt_facts;

/* Strings live as long as the model. */
G4RT_EXPORT g4rt_status g4rt_model_facts(const g4rt_model* model, g4rt_facts* facts);
/* Ids that end an answer. */
G4RT_EXPORT g4rt_status g4rt_model_stop_tokens(const g4rt_model* model, int32_t* ids, size_t capacity, size_t* count);

/* ---- Text ---- */

/* Ids of `text`, <bos> in front. Where `media` are given, the text has a placeholder (`<|image|>`, `<|audio|>`) for each,
 * in the order of each kind. */
G4RT_EXPORT g4rt_status g4rt_encode(const g4rt_model* model, const char* text, size_t bytes, const g4rt_media* const* media,
                                    size_t media_count, int32_t* ids, size_t capacity, size_t* count);
/* Text of ids, special tokens left out. `*bytes` does not count a NUL, and none is written. */
G4RT_EXPORT g4rt_status g4rt_decode(const g4rt_model* model, const int32_t* ids, size_t count, char* text, size_t capacity,
                                    size_t* bytes);
/* The text of a conversation, ready for the model's turn. `json`: an object with `messages` (each `role` and `content`, as
 * docs/embedding.md has them), and perhaps `tools` and other variables of the template, as `enable_thinking`. */
G4RT_EXPORT g4rt_status g4rt_render_chat(const g4rt_model* model, const char* json, size_t json_bytes, char* text,
                                         size_t capacity, size_t* bytes);

G4RT_EXPORT g4rt_status g4rt_stream_create(const g4rt_model* model, g4rt_stream** stream);
G4RT_EXPORT void g4rt_stream_destroy(g4rt_stream* stream);
/* The text that `id` makes certain, often none; it lives until the next call. Pieces joined are what g4rt_decode gives. */
G4RT_EXPORT g4rt_status g4rt_stream_push(g4rt_stream* stream, int32_t id, const char** text, size_t* bytes);
/* The rest, behind the last id. */
G4RT_EXPORT g4rt_status g4rt_stream_end(g4rt_stream* stream, const char** text, size_t* bytes);

/* ---- Media ---- */

/* `rgb`: uint8 [height, width, 3], upright. `budget`: most tokens (70, 140, 280, 560 or 1120); 0: the bundle's. */
G4RT_EXPORT g4rt_status g4rt_image_create(const g4rt_model* model, const uint8_t* rgb, int32_t width, int32_t height,
                                          int32_t budget, g4rt_media** media);
/* `samples`: float32 at the rate of the bundle (16 kHz), one channel. */
G4RT_EXPORT g4rt_status g4rt_audio_create(const g4rt_model* model, const float* samples, size_t count, g4rt_media** media);
G4RT_EXPORT void g4rt_media_destroy(g4rt_media* media);
/* How many tokens it takes in a prompt, without those around it. */
G4RT_EXPORT int32_t g4rt_media_tokens(const g4rt_media* media);
/* What the encoder is given: float32 [rows, columns], and of an image int64 [rows, 2], else NULL. They live as long as
 * `media`. */
G4RT_EXPORT g4rt_status g4rt_media_values(const g4rt_media* media, const float** values, size_t* rows, size_t* columns,
                                          const int64_t** positions);

/* ---- Sessions ---- */

G4RT_EXPORT g4rt_status g4rt_session_create(const g4rt_model* model, g4rt_session** session);
G4RT_EXPORT void g4rt_session_destroy(g4rt_session* session);
/* Tokens in the state; 0 while another thread is in a call. */
G4RT_EXPORT size_t g4rt_session_length(const g4rt_session* session);

/* Appends a prompt. `media`: those whose placeholders are among its ids, each kind in order. Placeholders without media
 * are refused. */
G4RT_EXPORT g4rt_status g4rt_session_prefill(g4rt_session* session, const int32_t* ids, size_t count,
                                             const g4rt_media* const* media, size_t media_count);
/* Appends one id, as that of a chosen token. */
G4RT_EXPORT g4rt_status g4rt_session_decode(g4rt_session* session, int32_t id);
/* Logits float32 [vocab_size] behind the last token. They live until the next call that changes the session. */
G4RT_EXPORT g4rt_status g4rt_session_logits(const g4rt_session* session, const float** logits, size_t* count);
/* Forgets the last `tokens`. G4RT_BAD_ARGUMENT past what sliding layers hold. */
G4RT_EXPORT g4rt_status g4rt_session_rewind(g4rt_session* session, size_t tokens);
G4RT_EXPORT g4rt_status g4rt_session_reset(g4rt_session* session);
/* Ends a call of another thread, at its next run of the graph. Without one, nothing happens. */
G4RT_EXPORT void g4rt_session_cancel(g4rt_session* session);

/* Writes the state into the file `path`: the old file stays whole until the new one is. */
G4RT_EXPORT g4rt_status g4rt_session_save(g4rt_session* session, const char* path);
/* The state of a file that was saved with the same bundle. */
G4RT_EXPORT g4rt_status g4rt_session_restore(g4rt_session* session, const char* path);

typedef struct g4rt_memory {
  uint64_t weight_bytes;    /* of weights.data, which is mapped, and shared by all sessions of all processes */
  uint64_t kv_bytes;        /* that this session holds */
  uint64_t anonymous_bytes; /* of the process; UINT64_MAX where the system does not tell */
  uint64_t resident_bytes;  /* of the process, weights that are in memory included; or UINT64_MAX */
} g4rt_memory;

G4RT_EXPORT g4rt_status g4rt_session_memory(const g4rt_session* session, g4rt_memory* memory);

/* ---- Sampling: docs/sampling.md ---- */

typedef struct g4rt_sampling {
  double temperature; /* 0: the likeliest token */
  int32_t top_k;      /* 0: all */
  double top_p;       /* 0 is read as 1: all */
  int32_t seeded;     /* 0: a seed of the system */
  uint64_t seed;
} g4rt_sampling;

/* NULL for `sampling` is greedy. */
G4RT_EXPORT g4rt_status g4rt_sampler_create(const g4rt_sampling* sampling, g4rt_sampler** sampler);
G4RT_EXPORT void g4rt_sampler_destroy(g4rt_sampler* sampler);
/* The next token of logits float32 [count]. */
G4RT_EXPORT g4rt_status g4rt_sampler_choose(g4rt_sampler* sampler, const float* logits, size_t count, int32_t* id);

/* ---- Answers ---- */

/* A token, and the text that it makes certain (not ended by NUL; NULL and 0 where the bundle has no table of its
 * tokenizer). Behind the last token it is called once more with the id -1 where text was held back. Return 0 to go on;
 * anything else ends the answer, with G4RT_CANCELLED. So does an exception of a callback in C++: its
 * words are in g4rt_last_error. */
typedef int32_t (*g4rt_on_token)(void* user, int32_t id, const char* text, size_t bytes);

/* Appends a prompt, and chooses tokens until one that ends an answer (given to the callback too), `max_new_tokens`, or a
 * full context. The last token is given and not appended: what follows it begins with it. 0 for `max_new_tokens` appends
 * nothing. NULL for `sampling` is greedy. `*generated`, where it is not NULL, counts tokens. */
G4RT_EXPORT g4rt_status g4rt_session_generate(g4rt_session* session, const int32_t* ids, size_t count,
                                              const g4rt_media* const* media, size_t media_count,
                                              const g4rt_sampling* sampling, size_t max_new_tokens,
                                              g4rt_on_token on_token, void* user, size_t* generated);

#ifdef __cplusplus
}
#endif
#endif
