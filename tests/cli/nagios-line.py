#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads what a plugin printed by the grammar of the Monitoring Plugins' guidelines, strictly, and prints it as JSON.

usage: nagios-line.py EXIT_STATUS <OUTPUT
"""
import json
import re
import sys

STATUS = ["OK", "WARNING", "CRITICAL", "UNKNOWN"]
NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
RANGE = rf"@?(?:(?:~|{NUMBER}):)?(?:{NUMBER})?"
# label=value[UOM];[warn];[crit];[min];[max]; a label in quotes has no quote, no = and no |
ITEM = re.compile(rf"'([^'=|]+)'=({NUMBER})(s|us|ms|%|B|KB|MB|TB|c)?"
                  rf"(?:;({RANGE}))?(?:;({RANGE}))?(?:;({NUMBER})?)?(?:;({NUMBER})?)?")

data = sys.stdin.buffer.read()
status = int(sys.argv[1])
assert 0 <= status <= 3, status
assert data.endswith(b"\n")
first, *rest = data[:-1].split(b"\n")
assert len(first) + 1 <= 4096, len(first)
text = data.decode("utf-8")
assert all(c == "\n" or c >= " " and c != "\x7f" and not "\x80" <= c <= "\x9f" for c in text), text
line = first.decode("utf-8")
assert line.startswith(STATUS[status] + " - "), (status, line)
assert line.count("|") <= 1, line
words, _, performance = line.partition("|")
assert not set(words) & set("|'\"`$<>&"), words
items = {}
position = 0
performance = performance.removeprefix(" ")
while position < len(performance):
    match = ITEM.match(performance, position)
    assert match, performance[position:]
    assert match[1] not in items, match[1]
    items[match[1]] = {"value": int(match[2]), "unit": match[3] or "", "warn": match[4] or "", "crit": match[5] or "",
                       "min": match[6] or "", "max": match[7] or ""}
    position = match.end()
    assert position == len(performance) or performance[position] == " ", performance[position:]
    position += 1
# long output: more lines of text, without performance data
assert all(b"|" not in line for line in rest), rest
json.dump({"status": STATUS[status], "text": words.strip(), "more": len(rest), "data": items}, sys.stdout)
