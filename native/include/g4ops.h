/* libg4ops without ONNX Runtime: products and lookups of quantised weights, attention, experts. What the arrays hold:
 * see LAYOUT.md.
 *
 * Functions return 0, or -1 with words in g4ops_last_error(). All sizes are checked before anything is read.
 * Pointers are borrowed for the length of the call. Every function may be called from several threads at once. */
#ifndef G4OPS_H
#define G4OPS_H
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define G4OPS_EXPORT __declspec(dllexport)
#else
#define G4OPS_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of LAYOUT.md that this library reads. */
#define G4OPS_LAYOUT_VERSION 1

typedef struct G4Kernels G4Kernels; /* kernels for one instruction set */
typedef struct G4Pool G4Pool;       /* threads that wait for work */

/* Weights [N, K] in panels. scales: float32 [panels * 32] where block is 0, else bfloat16 [panels][blocks][32].
 * zero_points: uint8 [panels][blocks][32], or NULL and 0 bytes where zero is the middle code. */
typedef struct G4Weights {
  int64_t bits, block, columns, rows; /* 2, 4 or 8; 0, 32, 64 or 128; K; N */
  const void* codes;
  size_t codes_bytes;
  const void* scales;
  size_t scales_bytes;
  const void* zero_points;
  size_t zero_points_bytes;
} G4Weights;

G4OPS_EXPORT int g4ops_layout_version(void);
/* What went wrong in the last call of this thread that returned -1 or NULL. */
G4OPS_EXPORT const char* g4ops_last_error(void);

/* The kernels of an instruction set by its name ("scalar", "avx2", "avx512vnni", "neon_dotprod", "neon_i8mm"), or of the
 * best one of this machine where name is NULL. NULL: the library or this machine does not have it.
 * G4OPS_INSTRUCTION_SET in the environment replaces what NULL stands for. */
G4OPS_EXPORT const G4Kernels* g4ops_kernels(const char* name);
G4OPS_EXPORT const char* g4ops_kernels_name(const G4Kernels* kernels);

/* A pool in which the caller and threads - 1 others work. NULL stands for a pool of one thread. */
G4OPS_EXPORT G4Pool* g4ops_pool_create(int threads);
G4OPS_EXPORT void g4ops_pool_destroy(G4Pool* pool);

/* Bytes of rows of K activations, packed; block is 0 (a scale a row) or 128. 0: there is no such size. */
G4OPS_EXPORT size_t g4ops_activations_bytes(int64_t rows, int64_t columns, int64_t block);
/* x: float32 [rows, columns]. packed: aligned to 4 bytes, of g4ops_activations_bytes. */
G4OPS_EXPORT int g4ops_quantize(const G4Kernels* kernels, G4Pool* pool, const float* x, int64_t rows, int64_t columns,
                                int64_t block, void* packed, size_t packed_bytes);
/* y [rows, N] = activations [rows, K] * weights^T; y is float32. */
G4OPS_EXPORT int g4ops_product(const G4Kernels* kernels, G4Pool* pool, const G4Weights* weights, const void* packed,
                               size_t packed_bytes, int64_t rows, int64_t block, float* y);
/* The same with float32 activations x [rows, K]. */
G4OPS_EXPORT int g4ops_product_float(const G4Kernels* kernels, G4Pool* pool, const G4Weights* weights, const float* x,
                                     int64_t rows, float* y);
/* y [count, K] = rows ids of the weights, as float32. */
G4OPS_EXPORT int g4ops_lookup(const G4Weights* weights, const int64_t* ids, int64_t count, float* y);
/* Codes uint8 [N, K], one a byte, into panels; padding gets the middle code. */
G4OPS_EXPORT int g4ops_pack(int64_t bits, int64_t columns, int64_t rows, const uint8_t* codes, void* panels,
                            size_t panels_bytes);

/* Keys or values [batch, heads, slots, depth]. The token at position p is in slot p, or p modulo slots in a ring. */
enum { G4OPS_FLOAT32 = 0, G4OPS_BFLOAT16 = 1, G4OPS_INT8 = 2 };
typedef struct G4Cache {
  int64_t type, ring; /* ring: 0 or 1 */
  int64_t batch, heads, slots, depth;
  void* numbers;
  size_t numbers_bytes;
  float* scales; /* of int8: [batch, heads, slots]; else NULL and 0 bytes */
  size_t scales_bytes;
} G4Cache;

typedef struct G4Queries {
  int64_t heads, tokens, window; /* window 0: all positions so far */
  double scale;                  /* of scores */
  const int64_t* positions;      /* [batch, tokens] */
  /* NULL, or [batch, tokens]: the first and the last position of the block that a token is of. It sees all of it. */
  const int64_t *block_starts, *block_ends;
} G4Queries;

/* fresh: float32 [batch, heads, tokens, depth], put where positions [batch, tokens] say. */
G4OPS_EXPORT int g4ops_cache_write(G4Pool* pool, const G4Cache* cache, const float* fresh, int64_t tokens,
                                   const int64_t* positions);
/* query: float32 [batch, N, tokens, depth]; y: float32 [batch, tokens, N * depth]. */
G4OPS_EXPORT int g4ops_attention(const G4Kernels* kernels, G4Pool* pool, const G4Queries* queries, const float* query,
                                 const G4Cache* keys, const G4Cache* values, float* y);

/* Attention of an encoder: every query sees every key. */
typedef struct G4Encoder {
  int64_t batch, heads, key_heads, queries, keys, depth;
  double scale; /* of scores */
} G4Encoder;

/* query: float32 [batch, heads, queries, depth]; keys, values: [batch, key_heads, keys, depth];
 * y: [batch, queries, heads * depth]. */
G4OPS_EXPORT int g4ops_encoder_attention(const G4Kernels* kernels, G4Pool* pool, const G4Encoder* encoder,
                                         const float* query, const float* keys, const float* values, float* y);

/* Weights of `count` experts, one behind the other in each array: gate_up [2 I, H], the rows of gate first, and down
 * [H, I]. exact: 1 for float32 activations, 0 for int8. */
typedef struct G4Experts {
  int64_t count, exact;
  G4Weights gate_up, down;
} G4Experts;

/* The experts of each token, and what their results are multiplied with: [tokens, each]. */
typedef struct G4Choices {
  int64_t tokens, each;
  const int64_t* index;
  const float* weight;
} G4Choices;

/* x, y: float32 [tokens, H]. */
G4OPS_EXPORT int g4ops_experts(const G4Kernels* kernels, G4Pool* pool, const G4Experts* experts, const float* x,
                               const G4Choices* choices, float* y);

/* Rows of an RMS norm: x / sqrt(mean of squares + epsilon) * weight [width]. */
typedef struct G4Norm {
  int64_t width;
  double epsilon;
  const float* weight;
} G4Norm;

typedef struct G4Heads {
  /* A head is `parts` equal parts, of each of which the pairs (i, pairs + i) are rotated; 0 pairs: none. */
  int64_t batch, tokens, heads, parts, pairs;
} G4Heads;

/* y [rows, width] = (residual + norm of x) * scale; y may be residual. */
G4OPS_EXPORT int g4ops_norm_add(const G4Kernels* kernels, G4Pool* pool, const G4Norm* norm, int64_t rows,
                                const float* x, const float* residual, double scale, float* y);
/* What g4ops_quantize makes of the norm of x [rows, width]. */
G4OPS_EXPORT int g4ops_norm_quantize(const G4Kernels* kernels, G4Pool* pool, const G4Norm* norm, int64_t rows,
                                     int64_t block, const float* x, void* packed, size_t packed_bytes);
/* x: [batch, tokens, heads * width]; cos, sin: [batch, tokens, parts, pairs]; y: [batch, heads, tokens, width]. */
G4OPS_EXPORT int g4ops_norm_heads(const G4Kernels* kernels, G4Pool* pool, const G4Norm* norm, const G4Heads* heads,
                                  const float* x, const float* cos, const float* sin, float* y);

#ifdef __cplusplus
}
#endif
#endif
