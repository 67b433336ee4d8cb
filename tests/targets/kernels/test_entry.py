"""Parameters of a kernel's entry, put into another order."""

import pytest

from g4compile.errors import Defect
from g4compile.targets.kernels.entry import Entry

PTX = """.version 8.0
.visible .entry kernel(
\t.param .u64 .ptr .global .align 1 kernel_param_0,
\t.param .u64 .ptr .global .align 1 kernel_param_1,
\t.param .u32 kernel_param_10
)
{
\tld.param.b64 \t%rd1, [kernel_param_0];
\tmov.b32 \t%r2, kernel_param_1;
\tld.param.b32 \t%r3, [kernel_param_10];
}
"""


def test_parameters_are_read_and_written_as_they_stand():
    entry = Entry.of(PTX, "kernel")
    assert [one.split()[-1] for one in entry.parameters] == ["kernel_param_0", "kernel_param_1", "kernel_param_10"]
    assert entry.taking(range(3), {}).ptx.split() == PTX.split()


def test_an_order_changes_the_list_alone():
    entry = Entry.of(PTX, "kernel")
    assert entry.taking([2, 0, 1], {}).parameters == (entry.parameters[2], *entry.parameters[:2])
    assert entry.taking([2, 0, 1], {}).body == entry.body


def test_what_is_left_out_reads_another():
    made = Entry.of(PTX, "kernel").taking([0, None, 2], {1: 0})
    assert "mov.b32 \t%r2, kernel_param_0;" in made.ptx and "[kernel_param_10]" in made.ptx
    assert made.parameters[1].endswith("kernel_unread_0") and "kernel_param_1," not in made.ptx


def test_what_the_body_reads_is_not_left_out():
    entry = Entry.of(PTX, "kernel")
    with pytest.raises(Defect, match="the kernel kernel reads parameter 2"):
        entry.without(1)
    with pytest.raises(Defect, match="the PTX has no entry other"):
        Entry.of(PTX, "other")
