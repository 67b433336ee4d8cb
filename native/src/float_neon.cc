// Attention and gated activations: arm64.
#include "tile_attention.h"
#include "vector_neon.h"

namespace g4 {

const FloatKernels kFloatNeon = G4_FLOAT_KERNELS(VectorNeon, nullptr);

}  // namespace g4
