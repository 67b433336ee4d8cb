// What an instruction set brings: one table of functions each. Files that are compiled with flags of their own include
// nothing but this, `tile*.h`, `vector_*.h` and headers of C: an inline function of the C++ library that such a file
// brings along could be the copy that the linker keeps for all, and then run on a machine without these instructions.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "float_kernels.h"

namespace g4 {

constexpr int kTile = 12;  // rows of activations that are packed together, at most

// How scales are spread: one a channel and one a row; blocks of K a channel; the same, and blocks of K a row.
enum Spread { kChannel, kBlocks, kBoth, kSpreads };
enum { kBits2, kBits4, kBits8, kBitWidths };
constexpr int bits_index(int64_t bits) { return bits == 2 ? kBits2 : bits == 4 ? kBits4 : kBits8; }

// A panel of 32 channels times the rows of one tile of quantised activations.
struct PanelJob {
  const uint8_t* codes;          // of the panel
  const float* channel_scales;   // [32]; null in blocks of weights
  const uint16_t* block_scales;  // bfloat16 [blocks][32]; null for kChannel
  ptrdiff_t block_scales_step;   // 32, or 0: all blocks have the same
  const uint8_t* zeros;          // [blocks][32]
  ptrdiff_t zeros_step;          // 32, or 0: all blocks have the same
  int depth, block;              // K padded; weights of a block, the last one may be shorter
  const int8_t* q;               // [depth / 4][rows][4]; 16 bytes behind it can be read
  const int32_t* sums;           // [blocks][rows]: of q in a block
  const float* row_scales;       // [rows], or [blocks of 128][rows] for kBoth
  int rows;                      // 1..kTile
  float* y;                      // [rows][32]
  ptrdiff_t y_step;              // floats from a row to the next
};

// A panel times rows of float32 activations.
struct FloatJob {
  const uint8_t* codes;
  const float* channel_scales;
  const uint16_t* block_scales;
  const uint8_t* zeros;
  ptrdiff_t zeros_step;
  int depth, block;  // block: 128 where scales are per channel
  const float* x;    // [rows][depth]
  ptrdiff_t x_step;
  int rows;          // 1..kFloatRows
  float* y;
  ptrdiff_t y_step;
};
constexpr int kFloatRows = 48;

struct Kernels {
  const char* name;
  // A row x [K] in blocks of ``block`` (0: one) -> q [K padded to 32], scales [blocks], sums of q in each 32.
  void (*quantize)(const float* x, int K, int block, int8_t* q, float* scales, int32_t* sums);
  void (*product[kBitWidths][kSpreads])(const PanelJob& job);
  void (*product_float[kBitWidths])(const FloatJob& job);
  const FloatKernels* floats;
};

extern const Kernels kScalar;
#if defined(__x86_64__)
extern const Kernels kAvx2, kAvx512Vnni;
#elif defined(__aarch64__)
extern const Kernels kNeonDotprod, kNeonI8mm;
#endif

// The kernels called ``name``, or null: unknown, or this machine cannot run them.
const Kernels* find_kernels(const char* name);
// The best that this machine runs, or what G4OPS_INSTRUCTION_SET names. Null: that names nothing that runs here.
const Kernels* chosen_kernels();

}  // namespace g4
