"""Pieces of a device's memory that are held together, and given back together."""

from __future__ import annotations

from g4compile.errors import MachineError
from g4compile.runtime.device import Device


class Memory:
    """Pieces of device memory that are given back together. ``bytes``: of all of them. ``what``: for whom."""

    def __init__(self, device: Device, what: str) -> None:
        self.device, self.bytes, self._what = device, 0, what
        self._sizes: dict[int, int] = {}
        self._named: dict[str, int] = {}

    def allocate(self, size: int, zero: bool = False) -> int:
        """The address of ``size`` bytes. Raises MachineError when the GPU does not have them."""
        try:
            address = self.device.allocate(size)
        except MachineError as error:
            raise MachineError(
                f"there is not enough memory on the GPU for {self._what}",
                why=f"{self.bytes:,} bytes are held for them, {size:,} more are asked for, and "
                f"{self.device.free_memory():,} are free",
                fix="give fewer sequences, compile with a smaller --context, or free memory of the GPU",
            ) from error
        self._sizes[address] = size
        self.bytes += size
        if zero:
            self.device.zero(address, size)
        return address

    def room(self, name: str, size: int) -> int:
        """Where at least ``size`` bytes of ``name`` lie. A larger piece takes the place of a smaller one."""
        address, size = self._named.get(name), max(size, 8)  # an array that holds nothing has an address too
        if address is not None and self._sizes[address] >= size:
            return address
        if address is not None:
            del self._named[name]
            self._free(address)
        self._named[name] = self.allocate(size)
        return self._named[name]

    def address(self, name: str) -> int:
        """Of what `room` gave last."""
        return self._named[name]

    def free(self) -> None:
        """Give all of it back."""
        self._named.clear()
        for address in list(self._sizes):
            self._free(address)

    def _free(self, address: int) -> None:
        self.device.synchronize()
        self.device.free(address)
        self.bytes -= self._sizes.pop(address)
