/* libg4cuda beside ONNX Runtime: the kernels that its ops launch, which a session gives before it opens a graph.
 *
 * Functions return 0, or -1 with words in g4cuda_last_error(). Pointers are borrowed for the length of the call. Every
 * function may be called from several threads at once. */
#ifndef G4CUDA_H
#define G4CUDA_H
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define G4CUDA_EXPORT __declspec(dllexport)
#else
#define G4CUDA_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of these functions, and of what the ops read in `launches` and `sizes`. */
#define G4CUDA_VERSION 2

G4CUDA_EXPORT int g4cuda_version(void);
/* What went wrong in the last call of this thread that returned -1. */
G4CUDA_EXPORT const char* g4cuda_last_error(void);

/* A kernel for the process. image: a cubin, or PTX, of `bytes` bytes, in which `entry` is the kernel. threads: of a
 * block. shared: bytes of dynamic shared memory. dependent: whether it may start before the kernel in front of it on the
 * stream has ended. grid: three expressions with blanks between them, in which aN is integer argument N of the launch.
 * Needs no GPU. The same kernel again changes nothing; another one of a name that is taken is refused. */
G4CUDA_EXPORT int g4cuda_add_kernel(const char* name, const void* image, size_t bytes, const char* entry,
                                    uint32_t threads, uint32_t shared, int dependent, const char* grid);
/* Loads all kernels in the CUDA context that is current on this thread. Those that are not loaded so are loaded when they
 * are first launched. */
G4CUDA_EXPORT int g4cuda_load_kernels(void);

#ifdef __cplusplus
}
#endif
#endif
