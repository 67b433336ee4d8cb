// Attention and gated activations: plain C++.
#include "tile_attention.h"
#include "vector_scalar.h"

namespace g4 {

const FloatKernels kFloatScalar = G4_FLOAT_KERNELS(VectorScalar, nullptr);

}  // namespace g4
