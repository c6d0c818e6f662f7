"""Random tables under random rules, in which every value that the reader must not see is a token found nowhere else."""
import gzip
import io
import json
import os
import random

import pyarrow
import pyarrow.parquet
import zstandard

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: {name}
name: {title}
version: 1.0.0
status: active
description: {{ purpose: "{about}" }}
schema:
  - name: table
    properties:
      - {{ name: id, logicalType: integer, classification: public }}
      - {{ name: keep, logicalType: string, classification: public }}
      - {{ name: open, logicalType: string, classification: public, examples: ["{example}"] }}
{columns}"""
NESTED = """apiVersion: v3.1.0
kind: DataContract
id: {name}
name: {name}
version: 1.0.0
status: active
schema:
  - name: table
    properties:
      - {{ name: id, logicalType: integer, classification: public }}
      - {{ name: keep, logicalType: string, classification: public }}
      - {{ name: open, logicalType: string, classification: public }}
      - name: who
        logicalType: object
        classification: public
        properties:
          - {{ name: name, logicalType: string, classification: public }}
          - {{ name: mail, logicalType: string, classification: restricted, tags: [secret], examples: ["{example}"] }}
      - name: part
        logicalType: object
        classification: public
        properties: [ {{ name: a, logicalType: string, tags: [secret] }}, {{ name: b, logicalType: object, classification: public }} ]
"""
COLUMN = '      - {{ name: {name}, logicalType: string, classification: {kind}, tags: [secret], description: d, examples: ["{example}"] }}\n'
MASKS = ["null", "redact", "redact keep length", "hmac key k1", "partial first 1", "partial last 1", "scrub EMAIL_ADDRESS"]
LINE_FORMATS = ["csv", "tsv", "jsonl", "csv.gz", "jsonl.zst"]
SUBJECT = "scene"  # the purpose under which the rules hold


class Scene:
    def __init__(self, seed, engine):
        self.random = random.Random(seed)
        self.engine = engine
        self.shown = []
        self.count = 0
        self.salt = f"{self.random.randrange(1 << 40):010x}"
        self.rules = []
        self.marker = f"zqx{self.salt}"  # what every secret begins with

    def token(self, denied):
        """Letters that no hash in hexadecimal has; an address, so that scrub finds it."""
        self.count += 1
        text = f"{'zqx' if denied else 'oky'}{self.salt}w{self.count:06d}v"
        if not denied:
            self.shown.append(text)
        return text

    def secret(self, mask):
        text = self.token(True)
        # What "partial" shows is one byte of a longer text, not of the token.
        return f"{text}@{self.token(True)}.org" if mask.startswith("scrub") else f"a{text}b"

    # -- tables -------------------------------------------------------------------------------

    def table(self, masks, rows):
        out = []
        for i in range(rows):
            keep = self.random.random() < 0.6
            row = {"id": i, "keep": "yes" if keep else "no", "open": self.token(not keep)}
            row.update({name: self.secret(mask) for name, mask in masks.items()})
            out.append(row)
        return out

    def encode(self, kind, rows):
        names = list(rows[0])
        order = self.random.sample(names, len(names))
        if kind == "parquet":
            columns = {n: [r[n] for r in rows] for n in order}
            out = io.BytesIO()
            pyarrow.parquet.write_table(pyarrow.table(columns), out, row_group_size=50, compression=self.random.choice(["none", "snappy"]))
            return out.getvalue()
        if kind.startswith("jsonl"):
            text = "".join(json.dumps({n: r[n] for n in order}) + "\n" for r in rows)
        else:
            separator = "\t" if kind == "tsv" else ","
            quote = (lambda v: str(v)) if kind == "tsv" else (lambda v: f'"{v}"' if self.random.random() < 0.3 else str(v))
            text = "".join(separator.join(map(quote, line)) + "\n" for line in [order, *([r[n] for n in order] for r in rows)])
        data = text.encode()
        return gzip.compress(data) if kind.endswith(".gz") else zstandard.ZstdCompressor().compress(data) if kind.endswith(".zst") else data

    # -- products -----------------------------------------------------------------------------

    def visible(self, name, mesh):
        """Filtered, dropped and masked, in every format; beside it files that are denied, hidden, and cannot be filtered."""
        masks = {f"s{i}": self.random.choice(MASKS) for i in range(self.random.randint(1, 3))}
        masks["gone"] = "drop"
        columns = "".join(COLUMN.format(name=n, kind="restricted", example=self.token(True)) for n in masks)
        contract = CONTRACT.format(name=name, title=name, about="a table", example=self.token(True), columns=columns)
        files = {f"{kind.replace('.', '-')}.{kind}": self.encode(kind, self.table(masks, self.random.choice([1, 7, 400]))) for kind in LINE_FORMATS}
        if self.engine:
            files["p.parquet"] = self.encode("parquet", self.table(masks, 120))
        secret_name = self.token(True)
        files.update({"blob.bin": self.token(True), "no/denied.csv": "id,keep,open\n1,yes," + self.token(True) + "\n",
                      f"hid/{secret_name}.csv": "id\n" + self.token(True) + "\n", "broken.jsonl": '{"id": 1, "open": "' + self.token(True) + "\n"})
        self.publish(mesh, name, files, contract)
        self.rules.append(f"filter kept-{name}\n  files d/{name}/**\n  rows row.keep == \"yes\"\n  when purpose == {SUBJECT}\n")
        self.rules.append(f"deny part-{name}\n  files d/{name}/*/no/**\n  reason \"not for you\"\n")
        self.rules.append(f"hide hid-{name}\n  files d/{name}/*/hid/**\n")
        for column, mask in masks.items():
            kind = f"drop {column}-{name}\n" if mask == "drop" else f"mask {column}-{name}\n"
            last = "" if mask == "drop" else f"  with {mask}\n"
            self.rules.append(f"{kind}  files d/{name}/**\n  columns named {column}\n{last}")

    def parquet(self, name, mesh):
        """Parquet where only columns go: no engine is needed."""
        columns = COLUMN.format(name="gone", kind="restricted", example=self.token(True))
        contract = CONTRACT.format(name=name, title=name, about="t", example=self.token(True), columns=columns)
        rows = [{"id": i, "keep": "yes", "open": self.token(False), "gone": self.token(True)} for i in range(200)]
        self.publish(mesh, name, {"p.parquet": self.encode("parquet", rows)}, contract)
        self.rules.append(f"drop gone-{name}\n  files d/{name}/**\n  columns named gone\n")

    def nested(self, name, mesh):
        """Members of objects, under masks and without a name in the contract, in every shape that JSON allows them."""
        t = self.token
        text = json.dumps
        lines = ['{"id": 1, "keep": "yes", "open": %s, "who": {"name": %s, "mail": %s, "x%s": 1}}' % (text(t(False)), text(t(False)), text(t(True)), t(True)),
                 '{"id": 2, "keep": "yes", "wh\\u006f": {"m\\u0061il": %s, "name": %s, "mail": [%s, {"a": %s}]}}' % (text(t(True)), text(t(False)), text(t(True)), text(t(True))),
                 '{"id": 3, "keep": "yes", "who": %s, "open": {"deep": [%s]}}' % (text("a text: " + t(True)), text(t(True))),
                 '{"id": 4, "keep": "yes", "who": [%s, {"mail": %s, "name": %s}], "%s": null}' % (text(t(True)), text(t(True)), text(t(False)), t(True)),
                 '{"id": 5, "keep": "no", "keep": "yes", "open": %s}' % text(t(True)), '{"id": 6, "keep": {"keep": "yes"}, "open": %s}' % text(t(True)),
                 '{"id": 7, "keep": "yes", "open": %s,}' % text(t(True)), '{"keep": "yes", "part": {"a": %s}, "id": 8}' % text(t(True)),
                 '{"id": 9, "keep": "yes", "part": %s}' % text(t(True) + " rest"), '{"id": 10, "keep": "yes", "part": {"b": {"deep": %s}}, "open": null}' % text(t(True))]
        data = "\n".join(lines).encode() + b"\n"
        contract = NESTED.format(name=name, example=t(True))
        self.publish(mesh, name, {"n.jsonl": data, "n.jsonl.gz": gzip.compress(data), "n.jsonl.zst": zstandard.ZstdCompressor().compress(data)}, contract)
        self.rules.append(f"filter kept-{name}\n  files d/{name}/**\n  rows row.keep == \"yes\"\n")
        self.rules.append(f"drop gone-{name}\n  files d/{name}/**\n  columns tagged secret\n")
        self.rules.append(f"mask part-{name}\n  files d/{name}/**\n  columns named part\n  with partial last 4\n")

    def denied(self, name, mesh):
        contract = CONTRACT.format(name=name, title=name, about="t", example=self.token(True), columns="")
        self.publish(mesh, name, {"a.csv": "id,keep,open\n1,yes," + self.token(True) + "\n"}, contract)
        self.rules.append(f"deny all-{name}\n  files d/{name}/**\n")

    def hidden(self, mesh):
        name = self.token(True)
        contract = CONTRACT.format(name=name, title=self.token(True), about="common " + self.token(True), example=self.token(True), columns="")
        self.publish(mesh, name, {self.token(True): self.token(True)}, contract)
        self.rules.append(f"hide all-{name}\n  files d/{name}/**\n")

    def publish(self, mesh, name, files, contract):
        path = mesh.folder / f"{name}.yaml"
        path.write_text(contract)
        mesh.publish(f"d/{name}/1.0.0", files, "--contract", path, "--with-failures", "as it is")
        os.unlink(path)

    def policy(self):
        self.random.shuffle(self.rules)
        return "policy scene scope mesh version 1\n\n" + "\n".join(self.rules)
