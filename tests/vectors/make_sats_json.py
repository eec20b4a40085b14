#!/usr/bin/env python3
"""bsatn.json -> sats_json.tsv: name, type as BSATN AlgebraicType (refs written out), value (mode A), value (mode B or -), value as BSATN.

Run by hand when bsatn.json changes: make_sats_json.py < bsatn.json > sats_json.tsv. Recursive types are left out: ours cannot be."""
import json, re, struct, sys

SCALARS = {n: i + 4 for i, n in enumerate("String Bool I8 U8 I16 U16 I32 U32 I64 U64 I128 U128 I256 U256 F32 F64".split())}

class Recursive(Exception): pass

def string(s):
    b = s.encode()
    return struct.pack("<I", len(b)) + b

def type_bytes(t, space, open_refs=()):
    (kind, p), = t.items()
    if kind == "Ref":
        if p in open_refs: raise Recursive
        return type_bytes(space[p], space, open_refs + (p,))
    if kind in ("Sum", "Product"):
        items = p["variants" if kind == "Sum" else "elements"]
        out = bytes([1 if kind == "Sum" else 2]) + struct.pack("<I", len(items))
        for e in items:
            out += b"\0" + string(e["name"]["some"]) if "some" in e["name"] else b"\1"
            out += type_bytes(e["algebraic_type"], space, open_refs)
        return out
    if kind == "Array":
        return b"\3" + type_bytes(p, space, open_refs)
    return bytes([SCALARS[kind]])

class F(str): pass

def dump(v):
    if isinstance(v, F):
        t = repr(float(v))
        t = re.sub(r"e\+?(-?)0*", r"e\1", t)
        return t.replace(".0e", "e")
    if isinstance(v, dict):
        return "{" + ",".join(json.dumps(k, ensure_ascii=False) + ":" + dump(x) for k, x in v.items()) + "}"
    if isinstance(v, list):
        return "[" + ",".join(map(dump, v)) + "]"
    return json.dumps(v, ensure_ascii=False)

for v in json.load(sys.stdin, parse_float=F):
    try:
        t = type_bytes(v["type"], v.get("typespace", []))
    except Recursive:
        continue
    print(v["name"].replace("\t", " "), t.hex(), dump(v["value"]), dump(v["value_named"]) if "value_named" in v else "-", v["hex"], sep="\t")
