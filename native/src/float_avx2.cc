// Attention and gated activations: AVX2.
#include "tile_attention.h"
#include "vector_avx2.h"

namespace g4 {

const FloatKernels kFloatAvx2 = G4_FLOAT_KERNELS(VectorAvx2, nullptr);

}  // namespace g4
