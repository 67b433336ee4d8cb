// Kernels for arm64 with the dot product extension.
#include "tile_neon.h"

namespace g4 {

const Kernels kNeonDotprod = G4_KERNELS(NeonDotprod, "neon_dotprod", &kFloatNeon);

}  // namespace g4
