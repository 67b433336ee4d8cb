"""As much of a cubin as tests ask: an ELF file of 64 bits whose sections say what a kernel takes. Attributes stand in
`.nv.info.ENTRY` as format, number and value (names are those of `cuobjdump -elf`)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_CUDA = 190  # EM_CUDA
_THREADS, _PARAMETERS = 0x10, 0x0A  # EIATTR_REQNTID, EIATTR_PARAM_CBANK


@dataclass(frozen=True)
class Cubin:
    """Code of one ``entry`` for GPUs of ``architecture``, which starts blocks of ``threads`` and reads ``parameters``
    bytes; ``static``: bytes of shared memory that it takes by itself."""

    architecture: int
    entry: str
    threads: int
    parameters: int
    static: int


def parse(data: bytes) -> Cubin:
    assert data[:5] == b"\x7fELF\x02"
    machine = struct.unpack_from("<H", data, 18)[0]
    assert machine == _CUDA
    sections_at, flags = struct.unpack_from("<QI", data, 40)
    count, names = struct.unpack_from("<HH", data, 60)
    headers = [struct.unpack_from("<IIQQQQ", data, sections_at + 64 * place) for place in range(count)]
    strings = headers[names][4]

    def named(offset):
        return data[strings + offset : data.index(b"\0", strings + offset)].decode()

    sections = {named(name): (at, size) for name, _, _, _, at, size in headers}
    (entry,) = [name.removeprefix(".text.") for name in sections if name.startswith(".text.")]
    info = dict(_attributes(data, *sections[f".nv.info.{entry}"]))
    architecture = flags >> 8 & 0xFF if data[8] >= 8 else flags & 0xFF  # the eighth version of the ABI moved it
    return Cubin(
        architecture,
        entry,
        struct.unpack_from("<I", info[_THREADS])[0],
        struct.unpack_from("<IHH", info[_PARAMETERS])[2],
        sections.get(f".nv.shared.{entry}", (0, 0))[1],
    )


def _attributes(data, at, size):
    end = at + size
    while at < end:
        form, number, length = struct.unpack_from("<BBH", data, at)
        at += 4
        if form == 4:  # others have their value in place of the length
            yield number, data[at : at + length]
            at += length
