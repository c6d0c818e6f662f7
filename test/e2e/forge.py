"""Catalogs and manifests with right hashes and other content: what only who holds a store's keys could write."""
import hashlib
import json
import shutil
import sqlite3


def newest(store):
    number = max(int(p.name) for p in (store / "heads").iterdir())
    return store / "heads" / str(number), json.loads((store / "heads" / str(number)).read_text())


def rename_to_hash(path):
    name = hashlib.sha256(path.read_bytes()).hexdigest()
    path.rename(path.with_name(name))
    return path.with_name(name)


def run(db, statements):
    """Each a text, or a text and its values, or a function of the connection."""
    for s in statements:
        if callable(s):
            s(db)
        else:
            text, *values = [s] if isinstance(s, str) else s
            db.execute(text, values)


def rewrite(path, statements):
    """The database at `path` after the statements, under its new hash; the old one stays."""
    work = path.with_name("work")
    shutil.copy(path, work)
    db = sqlite3.connect(work, isolation_level=None)
    db.execute("PRAGMA synchronous = off")
    run(db, statements)
    db.close()
    return rename_to_hash(work)


def forge_snapshot(store, statements, **head_fields):
    """Replaces the newest catalog, and its head."""
    head_path, head = newest(store)
    path = rewrite(store / "snapshots" / head["snapshot"], statements)
    head.update({"snapshot": path.name, "size": path.stat().st_size, **head_fields})
    head_path.unlink()
    head_path.write_text(json.dumps(head))
    (store / "HEAD").write_text(json.dumps(head))


def forge_manifest(store, *statements, snapshot=(), **head_fields):
    """Replaces the manifest of the only version, and with it the catalog."""
    (path,) = (store / "manifests").iterdir()
    new = rewrite(path, statements)
    if new != path:
        path.unlink()
    forge_snapshot(store, [("UPDATE version SET manifest = ?, manifest_size = ?", bytes.fromhex(new.name), new.stat().st_size), *snapshot], **head_fields)
