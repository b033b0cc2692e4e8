#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Are the schemas ones of JSON Schema 2020-12, and does JSON fit them, with no member that they do not describe?

usage: schema.py FOLDER                 each schema by itself
       schema.py FOLDER VERB <JSON      each document of standard input by the verb's
"""
import copy
import json
import pathlib
import sys
import warnings

warnings.simplefilter("ignore")         # RefResolver is what the oldest version has that is wanted
import jsonschema

ID = "urn:qcaudit:schema:1:"
schemas = {path.stem: json.loads(path.read_text()) for path in pathlib.Path(sys.argv[1]).glob("*.json")}


def close(schema):
    """The same, but members that are not described are refused: programs must pass over them, the test must not."""
    if isinstance(schema, list):
        return [close(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: {name: close(part) for name, part in value.items()} if key in ("properties", "$defs") else close(value)
              for key, value in schema.items()}
    if "properties" in schema:
        closed["additionalProperties"] = False
    return closed


def each_reference(schema):
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value
            else:
                yield from each_reference(value)
    elif isinstance(schema, list):
        for part in schema:
            yield from each_reference(part)


def validator(verb, transform):
    store = {schema["$id"]: transform(copy.deepcopy(schema)) for schema in schemas.values()}
    schema = store[ID + verb]
    return jsonschema.Draft202012Validator(schema, resolver=jsonschema.RefResolver(ID + verb, schema, store))


def documents(text):
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:]


if len(sys.argv) == 2:
    used = set()
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$id"] == ID + name, schema["$id"]
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        for reference in each_reference(schema):
            prefix, _, definition = reference.partition("#/$defs/")
            assert prefix == ID + "common" and definition in schemas["common"]["$defs"], (name, reference)
            used.add(definition)
    assert used == set(schemas["common"]["$defs"]), set(schemas["common"]["$defs"]) - used
    print("\n".join(sorted(set(schemas) - {"common"})))
    sys.exit()
count = 0
for value in documents(sys.stdin.buffer.read().decode("utf-8")):
    for transform in (lambda schema: schema, close):
        errors = sorted(validator(sys.argv[2], transform).iter_errors(value), key=str)
        for error in errors:
            causes = sorted(error.context, key=lambda cause: -len(list(cause.absolute_path)))[:3] if error.context else [error]
            for cause in causes:
                print(list(cause.absolute_path), cause.message[:300])
        if errors:
            sys.exit(1)
    count += 1
if count == 0:
    sys.exit("nothing to look at")
