"""What is measured through mounts: each function adds samples for all systems, round by round, neighbours back to back."""
import re
import subprocess
import time

from kit import MIB, BIN, Failed, can_drop, cpu_seconds, drop_pages, heat, peak_mib, reader, run, say, timed
from systems import ACCESS, BUCKET, REGION, SECRET

SHARDS = 12


def rounds(count, systems):
    """Each round takes the systems in an order of its own, so that none has always the same predecessor."""
    for r in range(count):
        turn = r % len(systems)
        for system in systems[turn:] + systems[:turn]:
            yield r, system


class Cold:
    """Reads of what is not cached: fresh mounts, empty caches, the server's files in memory."""

    def __init__(self, place, samples, size):
        self.place, self.samples, self.size = place, samples, size

    def sequential(self, count, systems):
        systems[0].fresh("big")  # not counted: memory that this machine never touched costs whoever comes first up to three times the CPU
        reader("seq", systems[0].path("big", "big.csv"))
        systems[0].stop()
        for _, system in rounds(count, systems):
            self.samples.take("cold seq", system.name, self._sequential, system)
            system.stop()
            if system.name == "meshfs":
                self.samples.take("cold seq", "curl", self._curl)

    def _sequential(self, system):
        system.fresh("big")
        before = cpu_seconds(system.pid)
        rate = reader("seq", system.path("big", "big.csv"))
        if system.pid:
            self.samples.add("cold cpu", system.name, (cpu_seconds(system.pid) - before) * 1024 / self.size)
            self.samples.add("cold rss", system.name, peak_mib(system.pid))
        return rate

    def _curl(self):
        """The same bytes by ranges, eight at once, neither verified nor kept: the limit of the wire."""
        heat(self.place.s3.files("plain/big"))
        part, lines = 8 * MIB, []
        for at in range(0, self.size * MIB, part):
            lines += [f'url = "{self.place.s3.url}/{BUCKET}/plain/big/big.csv"', f'range = "{at}-{at + part - 1}"', 'output = "/dev/null"',
                      f'aws-sigv4 = "aws:amz:{REGION}:s3"', f'user = "{ACCESS}:{SECRET}"', 'header = "x-amz-content-sha256: UNSIGNED-PAYLOAD"', "next"]
        config = self.place.folder / "curl.conf"
        config.write_text("\n".join(lines[:-1]) + "\n")
        took, cpu, _ = timed(["curl", "-sf", "-Z", "--parallel-max", "8", "-K", config])
        self.samples.add("cold cpu", "curl", cpu * 1024 / self.size)
        return self.size / took

    def random(self, count, systems):
        for r, system in rounds(count, systems):
            self.samples.take("cold random", system.name, self._random, system, r)
            system.stop()

    def _random(self, system, r):
        system.fresh("big")
        return reader("distinct", system.path("big", "big.csv"), 128 << 10, 256, r + 1)

    def first(self, systems):
        for system in systems:
            try:
                system.fresh("shards")
                reader("first", system.path("shards", "shard00.csv"))  # connections and folders are there
            except Failed as error:
                self.samples.failures.append(f"first byte, {system.name}: {error}")
        for i in range(1, SHARDS):
            for system in systems:
                self.samples.take("first byte", system.name, reader, "first", system.path("shards", f"shard{i:02}.csv"))
        for system in systems:
            system.stop()

    def small(self, count, systems, cap):
        """`ls -lR`, then all files once, in random order."""
        for r, system in rounds(count, systems):
            if r and system.name == "s3fs":
                continue  # it takes longer than all others together
            self.samples.take("ls cold", system.name, self._list, system)
            self.samples.take("epoch cold", system.name, self._epoch, system, cap)
            system.stop()

    def _list(self, system):
        system.fresh("small")
        return self.ls(system)

    @staticmethod
    def ls(system):
        start = time.monotonic()
        subprocess.run(["ls", "-lR", str(system.path("small"))], stdout=subprocess.DEVNULL, check=True, timeout=120)
        return time.monotonic() - start

    def _epoch(self, system, cap):
        heat(system.served("small"))
        before = cpu_seconds(system.pid)
        start = time.monotonic()
        rate = reader("epoch", system.path("small"), 8, cap)
        if system.pid:
            self.samples.add("epoch rss", system.name, peak_mib(system.pid))
            self.samples.add("epoch cpu", system.name, (cpu_seconds(system.pid) - before) * 1000 / (rate * min(cap, time.monotonic() - start)))
        return rate


class Warm:
    """Reads of what is wholly cached."""

    def __init__(self, place, samples):
        self.place, self.samples = place, samples

    def large(self, count, systems, seconds):
        for system in systems:
            try:
                system.fresh("big")
                for _ in range(3):  # the third pass finds what the first two left: a finished cache file, warm pages
                    reader("seq", system.path("big", "big.csv"))
            except Failed as error:
                self.samples.failures.append(f"warm, {system.name}: {error}")
        for r, system in rounds(count, systems):
            path = system.path("big", "big.csv")
            reader("seq", path)
            self.samples.take("warm seq", system.name, reader, "seq", path)
        for r, system in rounds(count, systems):
            path = system.path("big", "big.csv")
            reader("seq", path)
            self.samples.take("warm random 4k", system.name, reader, "random", path, 4096, 1, seconds)
            self.samples.take("warm random 128k x8", system.name, reader, "random", path, 128 << 10, 8, seconds)
        for system in systems:
            system.stop()

    def epochs(self, count, systems, files, cap):
        """After one complete pass over the first `files` files."""
        filled = []
        for system in systems:
            try:
                system.fresh("small")
                reader("epoch", system.path("small"), 8, 120, files)
                filled.append(system)
            except Failed as error:
                self.samples.failures.append(f"warm epoch, {system.name}: {error}")
        for _, system in rounds(count, filled):
            path = system.path("small")
            self.samples.take("epoch warm 1", system.name, reader, "epoch", path, 1, cap, files)
            self.samples.take("epoch warm 8", system.name, reader, "epoch", path, 8, cap, files)
        for _, system in rounds(count if can_drop() else 0, filled):
            drop_pages()
            self.samples.take("epoch dropped 8", system.name, reader, "epoch", system.path("small"), 8, cap, files)
            drop_pages()
            self.samples.take("epoch dropped 1", system.name, reader, "epoch", system.path("small"), 1, cap, files)
        for system in systems:
            system.stop()

    def record(self, count, recorded, unrecorded, files):
        """The record's cost, in pairs: CPU of the mount and of the reader decide on a busy machine, so the rate is of many short passes."""
        for system in (recorded, unrecorded):
            system.fresh("small")
            reader("epoch", system.path("small"), 8, 120, files)
        for what, threads in (("record epoch 8", 8), ("record epoch 1", 1)):
            passes = max(1, (threads > 1) * 5000 // files + 6000 // files)
            for _, system in rounds(count, [recorded, unrecorded]):
                self.samples.take(what, system.name, reader, "epoch", system.path("small"), threads, 60, files, passes)
        for system in (recorded, unrecorded):
            system.stop()


def million(place, samples, system, count):
    """A version of very many files: the time until its first listing answers, and what that costs in memory."""
    folder = place.data / "million"
    say(f"making {count} files")
    for d in range(count // 1000):
        sub = folder / f"{d // 100:02}" / f"{d:04}"
        sub.mkdir(parents=True)
        for f in range(1000):
            (sub / f"{f:03}").write_bytes(b"%d\n" % (d * 1000 + f))
    say("publishing them")
    start = time.monotonic()
    place.meshfs("publish", "bench/million/1.0.0", folder, timeout=1800)
    samples.add("million publish", "meshfs", time.monotonic() - start)
    system.fresh("small")
    run(["ls", system.path("million")])  # its manifest is here from now on
    system.stop()
    for _ in range(3):
        start = time.monotonic()
        system.start()
        run(["ls", "-l", system.path("million")])
        samples.add("million first ls", "meshfs", time.monotonic() - start)
        samples.add("million rss first", "meshfs", peak_mib(system.pid))
        system.stop()
    system.start()
    start = time.monotonic()
    found = int(run(["sh", "-c", 'find "$1" -type f | wc -l', "-", system.path("million")], timeout=900))
    if found != count:
        raise Failed(f"{found} of {count} files were listed")
    samples.add("million find", "meshfs", time.monotonic() - start)
    samples.add("million rss", "meshfs", peak_mib(system.pid))
    system.stop()


def metric(system, name):
    text = (system.mountpoint / ".mesh" / "metrics").read_text()
    return float(re.search(rf"^meshfs_{name} (\S+)$", text, re.M).group(1))
