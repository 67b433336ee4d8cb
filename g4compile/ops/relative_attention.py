"""RelativeAttention: softmax(cap(q k^T + q r^T)) v over the last keys alone, with a key for each distance.

Shapes: query, key, value [B, T, N, D], relative [W+1, N, D], W the ``window`` -> out [B, T, N, D]. The query at t sees
the keys at t - W + 1 to t. The row r = W - d of ``relative`` is the key of distance d; row 0, of a key behind the
window, is not read. cap(x) = softcap * tanh(x / softcap), before the mask. All in float32, whatever precedes.

Source: transformers `modeling_gemma4.py`, `Gemma4AudioAttention.forward`, with the mask of `Gemma4AudioModel.forward`
and one sound without padding. As there, the body goes by blocks of W queries, each with the keys of its own block and
of the one before, so that its memory grows with T.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array, Attribute, Input, Op, Output, Precision, span


def reference(query: Array, key: Array, value: Array, relative: Array, *, window: int, softcap: float) -> Array:
    places = np.arange(query.shape[1])
    distance = places[:, None] - places
    seen = (distance >= 0) & (distance < window)
    rows = relative[window - np.clip(distance, 0, window)]
    scores = np.einsum("bsnd,btnd->bnst", query, key) + np.einsum("bsnd,stnd->bnst", query, rows)
    scores = np.where(seen, np.float32(softcap) * np.tanh(scores / np.float32(softcap)), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    out: Array = np.einsum("bnst,btnd->bsnd", weights, value).astype(query.dtype)
    return out


# M blocks of W tokens; 2W keys for each. A query i of a block and a key j of its 2W are W + i - j apart: behind the
# rows of `relative` stand W zeros, and a row read 2W wide, each begun one later than the last, has distance W + i - j
# in column j (the shift of Transformer-XL).
_BODY = """
RelativeAttention <softcap, window> (query, key, value, relative) => (out) {
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  first = Constant <value_ints = [0]> ()
  second = Constant <value_ints = [1]> ()
  last = Constant <value_ints = [-1]> ()
  end = Constant <value_ints = [9223372036854775807]> ()
  window_scalar = Constant <value_int: int = @window> ()
  width = Unsqueeze (window_scalar, first)
  two = Constant <value_int = 2> ()
  context_scalar = Mul (window_scalar, two)
  context_width = Unsqueeze (context_scalar, first)
  tokens = Shape <start = 1, end = 2> (query)
  heads = Shape <start = 2, end = 4> (query)
  minus_tokens = Neg (tokens)
  spare = Mod (minus_tokens, width)
  padded_tokens = Add (tokens, spare)
  behind = Concat <axis = 0> (first, spare)
  around = Concat <axis = 0> (width, spare)
  blocks_of = Concat <axis = 0> (first, last, width, heads)
  query_padded = Pad (query, behind, , second)
  key_padded = Pad (key, around, , second)
  value_padded = Pad (value, around, , second)
  query_blocks = Reshape (query_padded, blocks_of)
  key_blocks = Reshape (key_padded, blocks_of)
  value_blocks = Reshape (value_padded, blocks_of)
  key_before = Slice (key_blocks, first, last, second)
  key_own = Slice (key_blocks, second, end, second)
  value_before = Slice (value_blocks, first, last, second)
  value_own = Slice (value_blocks, second, end, second)
  key_context = Concat <axis = 2> (key_before, key_own)
  value_context = Concat <axis = 2> (value_before, value_own)
  query_BNMWD = Transpose <perm = [0, 3, 1, 2, 4]> (query_blocks)
  key_BNMDC = Transpose <perm = [0, 3, 1, 4, 2]> (key_context)
  value_BNMCD = Transpose <perm = [0, 3, 1, 2, 4]> (value_context)
  by_content = MatMul (query_BNMWD, key_BNMDC)
  query_BNSD = Transpose <perm = [0, 2, 1, 3]> (query_padded)
  relative_NDR = Transpose <perm = [1, 2, 0]> (relative)
  by_distance = MatMul (query_BNSD, relative_NDR)
  zeros_behind = Concat <axis = 0> (first, width)
  filled = Pad (by_distance, zeros_behind, , last)
  copied = Constant <value_ints = [0, 0]> ()
  row_scalar = Add (context_scalar, one)
  block_size = Mul (window_scalar, row_scalar)
  block_width = Unsqueeze (block_size, first)
  flat_shape = Concat <axis = 0> (copied, last, block_width)
  flat = Reshape (filled, flat_shape)
  shifted_size = Mul (width, context_width)
  cut = Slice (flat, first, shifted_size, last)
  shifted_shape = Concat <axis = 0> (copied, first, width, context_width)
  shifted = Reshape (cut, shifted_shape)
  scores = Add (by_content, shifted)
  softcap_value = Constant <value_float: float = @softcap> ()
  divided = Div (scores, softcap_value)
  bent = Tanh (divided)
  capped = Mul (bent, softcap_value)
  query_places = Range (zero, window_scalar, one)
  key_places = Range (zero, context_scalar, one)
  query_column = Unsqueeze (query_places, last)
  ahead = Sub (key_places, query_column)
  not_too_old = Greater (ahead, zero)
  not_later = LessOrEqual (ahead, window_scalar)
  near = And (not_too_old, not_later)
  padded_scalar = Squeeze (padded_tokens, first)
  block_starts = Range (zero, padded_scalar, window_scalar)
  starts_column = Unsqueeze (block_starts, last)
  from_window = Add (starts_column, key_places)
  real = LessOrEqual (window_scalar, from_window)
  real_blocks = Unsqueeze (real, second)
  seen = And (near, real_blocks)
  closed = Constant <value = float {-inf}> ()
  masked = Where (seen, capped, closed)
  weights = Softmax <axis = -1> (masked)
  attended = MatMul (weights, value_BNMCD)
  attended_BMWND = Transpose <perm = [0, 2, 3, 1, 4]> (attended)
  whole_shape = Concat <axis = 0> (first, last, heads)
  whole = Reshape (attended_BMWND, whole_shape)
  out = Slice (whole, first, tokens, second)
}
"""


class RelativeAttention(Op):
    query = Input("[B, T, N, D]")
    key = Input("[B, T, N, D]")
    value = Input("[B, T, N, D]")
    relative = Input("[W+1, N, D]")
    out = Output("[B, T, N, D]")
    window = Attribute(int, size="W")
    softcap = Attribute(float)
    stages = span("traced", "quantized")
    precision = Precision.WIDE
    reference = staticmethod(reference)
    bodies = {"": _BODY}
