"""Backends side by side under polygraphy: HF, ONNX bundles, and engine bundles, by the same token ids.

    polygraphy run CHECKPOINT --g4-hf --g4-session --g4-bundle BUNDLE --g4-network --g4-engines ENGINES \\
        --input-shapes input_ids:[1,24] --val-range input_ids:[0,1023] --atol 1e-3

Each runner takes `input_ids` int64 [B, S] as a new conversation and gives `logits` float32 [B, S, V], so what a graph
does with its caches is part of what is compared. Beside a bundle of coded weights, `--g4-weights-of BUNDLE` has HF hold
what the codes stand for. Graphs and plans alone are polygraphy's own to load (`--onnxrt`, `--trt`): the inputs and
outputs of both have the same names.
"""
