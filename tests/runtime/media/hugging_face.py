"""transformers' own code for 12B's images, which imports torchvision: what runs here is the part that needs none."""

import functools
import importlib
import importlib.machinery
import sys
import types
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch

MODULE = "transformers.models.gemma4_unified.image_processing_gemma4_unified"


@functools.cache
def unified_image_processing():
    """``merged(patches, positions, length)``: patches of 16 pixels [patches, 768] as those of 48, padded to ``length``;
    by `patches_merge` and `pad_along_first_dim` of transformers."""
    module = _imported()

    def merged(patches, positions, length):
        tokens = len(patches) // 9
        values, places = module.patches_merge(
            torch.from_numpy(patches.copy())[None], torch.from_numpy(positions.copy())[None], tokens
        )
        values, places = module.pad_along_first_dim(values[0], places[0], length)
        return values.numpy(), places.numpy().astype(np.int64)

    return SimpleNamespace(merged=merged)


def _imported():
    if importlib.util.find_spec("torchvision") is not None:
        return importlib.import_module(MODULE)
    with mock.patch.dict(sys.modules, _stand_ins()):
        try:
            return importlib.import_module(MODULE)
        finally:
            sys.modules.pop(MODULE, None)


def _stand_ins():
    """Packages of torchvision's names with the one name that annotations mention."""
    names = ["torchvision", "torchvision.transforms", "torchvision.transforms.v2"]
    made = {name: types.ModuleType(name) for name in names}
    for name, module in made.items():
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        module.__path__ = []
    functional = types.ModuleType("torchvision.transforms.v2.functional")
    functional.InterpolationMode = object
    made["torchvision.transforms.v2"].functional = functional
    return {**made, functional.__name__: functional}
