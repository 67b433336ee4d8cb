"""What the fuzzer of chat tables starts from. `python -m tests.text_tables.fuzz_seeds` writes them anew."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from g4compile.text_tables.chat import chat_table
from g4compile.text_tables.chat_unicode import CaseTables

FOLDER = Path(__file__).parents[2] / "native" / "fuzz" / "corpus" / "chat"
# A few letters in the place of all of Unicode, which would be 22 kB.
CASES = CaseTables(
    hidden=[(0, 31), (127, 160), (173, 173)],
    cased=[(65, 90), (97, 122), (913, 1000)],
    ignorable=[(39, 39), (768, 800)],
    lower=([(192, 214, 1, 32), (913, 939, 1, 32)], [(304, (105, 775))]),
    upper=([(224, 246, 1, -32), (257, 303, 2, -1)], [(223, (83, 83))]),
    title=([(224, 246, 1, -32)], [(223, (83, 115))]),
)
HI = {"role": "user", "content": "Hi"}
VALUES = {
    "s": "aÄß\n'\"",
    "i": -3,
    "f": 2.5,
    "big": 10**20,
    "n": None,
    "l": [1, [2, "x"], {}],
    "d": {"B": 1, "a": True},
}
SEEDS = {
    "turns": (
        "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}"
        "{{ ',' if not loop.last }}{% endfor %}",
        {"messages": [HI, {"role": "model", "content": None, "reasoning": "r"}]},
    ),
    "macros": (
        "{% macro w(v, k=false) %}{% if v is mapping %}{% for a, b in v | dictsort %}"
        "{{ a ~ ':' ~ w(b, k=k) }}{% endfor %}"
        "{% elif v is iterable and v is not string %}{% for a in v %}{{ w(a) }}{% endfor %}{% else %}{{ v }}{% endif %}"
        "{% endmacro %}{{ w(d) }}{{ w(l, true) }}",
        {"messages": [HI], **VALUES},
    ),
    "loops": (
        "{% set n = namespace(a='') %}{% for x in l if x != n.a %}{% if loop.index0 > 1 %}{% break %}{% endif %}"
        "{% set n.a = x %}{{ loop.length }}{{ loop.nextitem }}{% else %}e{% endfor %}{% for i in range(9, 0, -2) %}"
        "{% if i % 2 == 0 %}{% continue %}{% endif %}{{ loop.previtem }}{{ loop.revindex }}{% endfor %}",
        {"messages": [HI], **VALUES},
    ),
    "filters": (
        "{{ s | upper | replace('A', 'b') | trim }}{{ s | lower }}{{ s | capitalize }}"
        "{{ l | map('string') | join('-') }}"
        "{{ [d] | selectattr('a', 'eq', true) | list | tojson(indent=1) }}{{ d | items | list }}"
        "{{ l | first }}{{ l | last }}"
        "{{ l | length }}{{ [d] | map(attribute='B', default=0) | list }}{{ none | default('z', true) }}",
        {"messages": [HI], **VALUES},
    ),
    "methods": (
        "{{ s.split('a', 1) }}{{ s.strip().startswith('a') }}{{ d.get('x', 1) }}{{ d.items() | list }}{{ s.rsplit() }}"
        "{{ s.find('ß') }}{{ s.removeprefix('a').upper() }}{{ ','.join(['a', 'b']) }}{{ d.items is mapping }}",
        {"messages": [HI], **VALUES},
    ),
    "operators": (
        "{{ i + 1 - 2 * 3 // 2 % 5 }}{{ f / 2 }}{{ -i }}{{ 1 < i <= 3 }}{{ s[1:][::-1] }}{{ l[-1] }}{{ s * 2 + 'x' }}"
        "{{ 'a' in s and 1 not in l or d == {'a': 1} }}{{ l + [(1,)] }}{{ big }}{{ 1 if n }}"
        "{{ big > i }}{{ l is sequence }}",
        {"messages": [HI], **VALUES},
    ),
    "blocks": (
        "{% set x %}{% for m in messages %}{{ m }}{% if m.x %}{% break %}{% endif %}{% endfor %}{% endset %}"
        "{% generation %}{% set x = x ~ 1 %}{{ x }}{% endgeneration %}{{ x | length }}{% if not x %}"
        "{{ raise_exception('no') }}{% endif %}{% set a, b = (1, dict(c=2)) %}{{ b.c }}",
        {"messages": [{**HI, "x": 1}], "add_generation_prompt": False},
    ),
}
TOOLS = ("{{ tools | tojson }}", {"messages": [HI], "tools": [{"type": "function", "function": {"name": "f"}}]})


def seeds():
    """Name -> bytes of an input."""
    made = {name: (chat_table(source, {"bos_token": "<bos>"}, CASES), chat) for name, (source, chat) in SEEDS.items()}
    made["tools"] = chat_table({"default": "{{ 1 }}", "tool_use": TOOLS[0]}, {}, CaseTables()), TOOLS[1]
    return {
        name: struct.pack("<I", len(table)) + table + json.dumps(chat, ensure_ascii=False).encode()
        for name, (table, chat) in made.items()
    }


if __name__ == "__main__":
    for name, data in seeds().items():
        (FOLDER / name).write_bytes(data)
