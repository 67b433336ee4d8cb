"""What a token reads and computes, and the speed that follows on a device."""

from __future__ import annotations

from dataclasses import dataclass

from g4compile.model.inventory import LOOKUP, PRODUCT, SMALL, Weight
from g4compile.planning.device import Device
from g4compile.planning.product_rates import ProductRate
from g4compile.planning.storage import Storage

# What speeds follow from: figures of the device, or rates that the products of libg4ops reached on it.
OF_DEVICE, OF_PRODUCTS = "device", "products"
_INT8 = "int8"


@dataclass(frozen=True)
class Speeds:
    """Tokens a second. ``source``: `device` or `products`."""

    decode: float
    prefill: float
    source: str


def read_bytes(weight: Weight, storage: Storage) -> int:
    """What a decoded token reads of ``weight``: a product all of it, or its experts; a lookup one row."""
    size = storage.tensor_bytes(weight)
    if weight.use == PRODUCT:
        return int(weight.share * size)
    return {SMALL: size, LOOKUP: size // weight.shape[0]}[weight.use]


def operations(weight: Weight) -> int:
    """Of one position: two for each weight of a product that a token meets."""
    return int(2 * weight.share * weight.elements) if weight.use == PRODUCT else 0


def speeds(found: list[Weight], storage: Storage, kv_read: int, device: Device) -> Speeds:
    """Where no rates of products were measured, or none are used: all reads at the bandwidth, and all products at the
    operations of ``device``. Else products of panels at their own rates, and only what is left at the device's."""
    rates = {(rate.bits, rate.block): rate for rate in device.products} if storage.panels else {}
    decode, prefill = kv_read / device.bandwidth, 0.0
    for weight in found:
        rate = _rate(weight, storage, rates)
        decode += read_bytes(weight, storage) / (rate.read if rate else device.bandwidth)
        if not weight.tail:
            prefill += operations(weight) / (rate.operations if rate else device.operations)
    return Speeds(1 / decode, 1 / prefill if prefill else device.operations, OF_PRODUCTS if rates else OF_DEVICE)


def _rate(weight: Weight, storage: Storage, rates: dict[tuple[int, int], ProductRate]) -> ProductRate | None:
    """None where the products of ``weight`` are not those that were measured: others read it, or read it exactly."""
    rule = storage.rule(weight)
    if rule is None or rule.format is None or rule.activations != _INT8 or not storage.in_panels(weight):
        return None
    return rates.get((rule.format.bits, rule.format.block))
