#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads CSV by the grammar of RFC 4180, strictly, and prints it as a JSON array of objects, names of columns as keys.

usage: csv-rows.py <CSV
Each cell has to be one line of UTF-8 without control characters, and none may be a formula; a leading apostrophe that
disarms one is taken away. A cell of text is unescaped to the bytes that it stands for, each as the character of that value.
"""
import json
import re
import sys

data = sys.stdin.buffer.read().decode("utf-8")
assert data.endswith("\r\n"), data[-20:]
position, rows, row = 0, [], []
FIELD = re.compile(r'"((?:[^"\x00-\x1f\x7f]|"")*)"|([^",\x00-\x1f\x7f]*)')
while position < len(data):
    match = FIELD.match(data, position)
    row.append(match[1].replace('""', '"') if match[1] is not None else match[2])
    position = match.end()
    if data.startswith("\r\n", position):
        rows.append(row)
        row = []
        position += 2
    else:
        assert data[position] == ",", data[position - 20:position + 20]
        position += 1
assert not row
assert len({len(row) for row in rows}) == 1, [len(row) for row in rows]
assert len(set(rows[0])) == len(rows[0]), rows[0]
assert all(re.fullmatch(r"[a-z][a-z-]*", name) for name in rows[0]), rows[0]

ESCAPES = {"n": 10, "t": 9, "r": 13, "a": 7, "b": 8, "f": 12, "v": 11, "\\": 92}


def cell(text):
    if re.fullmatch(r"-?[0-9]+", text):
        return int(text)
    assert not re.match(r"[=+\-@\t\r]", text), text
    text = re.sub(r"^'(?=[=+\-@\t\r])", "", text)
    raw = bytearray()
    for match in re.finditer(r"\\x([0-9a-f]{2})|\\([ntrabfv\\])|([^\\])", text, re.S):
        if match[1]:
            raw.append(int(match[1], 16))
        elif match[2]:
            raw.append(ESCAPES[match[2]])
        else:
            raw += match[3].encode()
    return raw.decode("latin-1")


json.dump([dict(zip(rows[0], map(cell, row))) for row in rows[1:]], sys.stdout)
