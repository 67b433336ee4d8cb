/* libg4ops: products and lookups of quantised weights, without ONNX Runtime. Weights and activations: see LAYOUT.md.
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

/* The kernels of an instruction set by its name ("scalar", "avx2", "avx512vnni", "neon_dotprod"), or of the best one of
 * this machine where name is NULL. NULL: the library or this machine does not have it. G4OPS_INSTRUCTION_SET in the
 * environment replaces what NULL stands for. */
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

#ifdef __cplusplus
}
#endif
#endif
