"""The files of settings of a package: tokenizer and chat template as onnxruntime-genai reads them, and processors.

It chooses how `tokenizer.json` is read by the class that `tokenizer_config.json` names, and reads one chat template.
Source: onnxruntime-extensions, `operators/tokenizer/tokenizer_jsconfig.hpp`.
"""

from __future__ import annotations

import json
from pathlib import Path

from g4compile.bundle.media import MediaSpec
from g4compile.errors import CheckpointError
from g4compile.inputs.documents import decode_object
from g4compile.runtime.text_files import DEFAULT, SETTINGS, TEMPLATE, TOKENIZER, kind_of, named_templates
from g4compile.targets.onnx.genai.processors import processor_files
from g4compile.weights.side_files import SideFiles

_CLASS = "GemmaTokenizer"  # by another one, words behind a special token are lost there, and merges are not applied
_FIX = "take the file of the published checkpoint"
_NAMES = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}


def package_files(side: SideFiles, media: MediaSpec | None) -> SideFiles:
    """``side`` with settings that name the class, the template in a file of its own, and the processors of ``media``.
    Raises CheckpointError without a tokenizer, InputError for media that are not made there."""
    if TOKENIZER not in side.files:
        raise CheckpointError(
            f"the checkpoint has no {TOKENIZER}, and a package for onnxruntime-genai needs one",
            why="that runtime opens the tokenizer that stands in its folder",
            fix=f"put the {TOKENIZER} of the published checkpoint beside the weights",
        )
    kind = kind_of(SETTINGS, CheckpointError, _FIX)
    settings = decode_object(side.files.get(SETTINGS, b"{}"), kind, Path(SETTINGS))
    templates = named_templates(settings, kind, Path(SETTINGS))
    settings = {**_NAMES, **settings, "tokenizer_class": _CLASS}
    settings.pop("chat_template", None)
    made = {} if media is None else processor_files(media)
    files = {**side.files, **made, SETTINGS: (json.dumps(settings, indent=2) + "\n").encode()}
    if TEMPLATE not in files and DEFAULT in templates:
        files[TEMPLATE] = templates[DEFAULT].encode()
    return SideFiles(files, side.stop_token_ids)
