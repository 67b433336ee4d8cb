"""4-bit codes as numbers, where a tile of rows multiplies them."""

from __future__ import annotations

import triton
import triton.language as tl

# Four bytes to four bfloat16 of their low and four of their high halves, minus 8: bytes are spread to 16 bits, the bits
# 0x4300 | code are 128 + code, exactly, and 136 is taken off in pairs: a third of the instructions of one by one.
_SPREAD = tl.constexpr("""{
.reg .b32 a, b, c, d, one, off;
mov.b32 one, 0x3f803f80;
mov.b32 off, 0xc308c308;
prmt.b32 a, $4, 0, 0x4140;
prmt.b32 b, $4, 0, 0x4342;
shr.b32 c, a, 4;
shr.b32 d, b, 4;
lop3.b32 a, a, 0x000f000f, 0x43004300, 0xea;
lop3.b32 b, b, 0x000f000f, 0x43004300, 0xea;
lop3.b32 c, c, 0x000f000f, 0x43004300, 0xea;
lop3.b32 d, d, 0x000f000f, 0x43004300, 0xea;
fma.rn.bf16x2 $0, a, one, off;
fma.rn.bf16x2 $1, b, one, off;
fma.rn.bf16x2 $2, c, one, off;
fma.rn.bf16x2 $3, d, one, off;
}""")


@triton.jit
def halves_of_codes(packed, like, TILE: tl.constexpr):
    """The low and the high codes of int8 ``packed``, minus 8, in the dtype of ``like``."""
    if like.dtype == tl.bfloat16 and TILE <= 16:  # with few tokens the conversion is what takes the time
        return tl.inline_asm_elementwise(
            _SPREAD, "=r,=r,=r,=r,r", [packed], dtype=(tl.bfloat16, tl.bfloat16), is_pure=True, pack=4
        )
    elif like.dtype == tl.bfloat16:  # with many it must leave registers to the product
        bits = packed.to(tl.int16) & 0xFF
        low = ((bits & 0xF) | 0x4300).to(tl.bfloat16, bitcast=True) - 136.0
        high = ((bits >> 4) | 0x4300).to(tl.bfloat16, bitcast=True) - 136.0
        return low.to(tl.bfloat16), high.to(tl.bfloat16)
    else:
        wide = packed.to(tl.int16) & 0xFF
        return ((wide & 0xF) - 8).to(like.dtype), ((wide >> 4) - 8).to(like.dtype)
