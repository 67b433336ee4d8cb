// Attention and gated activations: AVX-512.
#include "tile_attention.h"
#include "vector_avx512.h"

namespace g4 {

const FloatKernels kFloatAvx512 = G4_FLOAT_KERNELS(VectorAvx512, &kFloatAvx2);

}  // namespace g4
