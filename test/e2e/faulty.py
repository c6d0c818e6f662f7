"""An HTTP/1.1 server that serves a folder correctly, and misbehaves as it is told.  Usage: faulty.py ROOT PORT

GET /_control/plan?F1,F2,…   the next requests meet these faults in order; a last one that ends in '*' stays
GET /_control/seen           the requests since then, one a line

faults: ok              none
        500 429 403 …   that status, with a short body
        503+N           with Retry-After: N
        close           closes the connection before an answer
        reset           half of the body, then a TCP reset
        truncate        half of the body, then an orderly close
        stall           headers and half of the body, then silence
        silent          no answer at all
        norange         ignores Range: 200 and the whole file
        wrongrange      206, but the Content-Range and bytes of another range
        norangeheader   206 without Content-Range
        short           a Content-Length and Content-Range that end early (200/206 that looks right but is too short)
        long            a range that is longer than asked for
        shrunk          pretends that the file has only half of its bytes
        garbage         the right lengths, other bytes
        changed         another ETag from here on (the file was replaced), with other bytes
        redirect:URL    302 to that place; 301:URL, 307:URL … with that status
        nonsense        something that is not HTTP
        endless         a body of unknown length (chunked) that does not end
        endless-error   the same with status 500; endless-redirect:URL with 302; endless-403 …
        drip            the right headers, then a byte every 50 ms
        headers         headers without end; bigheader: one of 1 MiB; continue: "100 Continue" without end
        gzip            the whole body compressed, as Content-Encoding says
        list-circle     (for any GET) an S3 list whose tokens come again; list-empty: pages without objects; list-two: tokens A, B, A, B …
        trickle-once    one byte of the range, then an orderly close
"""
import gzip
import hashlib
import os
import re
import socket
import socketserver
import struct
import sys
import threading
import time
import urllib.parse

ROOT = os.path.realpath(sys.argv[1])
lock = threading.Lock()
plan, seen = [], []
generation, pages = 0, 0


def next_fault():
    with lock:
        if not plan:
            return "ok"
        if plan[0].endswith("*"):
            return plan[0][:-1]
        return plan.pop(0)


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def reply(self, status, headers, body=b"", declared=None):
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if declared is None else declared}"]
        lines += [f"{k}: {v}" for k, v in headers.items()]
        self.wfile.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def handle(self):
        try:
            while self.one():
                pass
        except (ConnectionError, TimeoutError):
            pass

    def one(self):
        line = self.rfile.readline(65536).decode("latin-1").strip()
        if not line:
            return False
        headers = {}
        while True:
            h = self.rfile.readline(65536).decode("latin-1").strip()
            if not h:
                break
            k, _, v = h.partition(":")
            headers[k.lower()] = v.strip()
        method, target, _ = line.split(" ", 2)
        path, _, query = target.partition("?")
        if path.startswith("/_control/"):
            return self.control(path[len("/_control/"):], query)
        with lock:
            seen.append(f"{method} {path} {headers.get('range', '-')}")
        return self.serve(method, urllib.parse.unquote(path), headers, next_fault())

    def control(self, verb, query):
        global generation
        with lock:
            if verb == "plan":
                generation = 0
                plan[:] = [f for f in urllib.parse.unquote(query).split(",") if f]
                seen.clear()
            body = "\n".join(seen).encode()
        self.reply(200, {}, body)
        return True

    def serve(self, method, path, headers, fault):
        global generation
        if fault == "close":
            return False
        if fault == "silent":
            time.sleep(3600)
        if fault == "nonsense":
            self.wfile.write(b"\x00\x01SSH-2.0-hello\r\n\r\n")
            return False
        m = re.fullmatch(r"(redirect|3\d\d):(.+)", fault)
        if m:
            self.reply(302 if m[1] == "redirect" else int(m[1]), {"Location": m[2]})
            return True
        m = re.fullmatch(r"(\d{3})(?:\+(\d+))?", fault)
        if m:
            extra = {"Retry-After": m[2]} if m[2] else {}
            self.reply(int(m[1]), extra, b"" if method == "HEAD" else b"a fault that was asked for")
            return True
        if fault.startswith("list-"):
            self.list_page(fault)
            return True
        if fault.startswith("endless"):
            return self.endless(fault)
        if fault in ("headers", "continue"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\n" if fault == "headers" else b"")
            while True:
                self.wfile.write(b"X-More: and more\r\n" * 1000 if fault == "headers" else b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        full = os.path.realpath(ROOT + path)
        if not full.startswith(ROOT + "/") or not os.path.isfile(full):
            self.reply(404, {}, b"" if method == "HEAD" else b"no such file")
            return True
        with open(full, "rb") as f:
            data = f.read()
        if fault == "changed":
            generation = 1
        if generation:
            data = bytes(b ^ 0x55 for b in data)
        if fault == "shrunk":
            data = data[:len(data) // 2]
        etag = '"%s"' % hashlib.md5(data).hexdigest()
        base = {"ETag": etag, "Accept-Ranges": "bytes", "Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}
        if headers.get("if-match") not in (None, "*", etag):
            self.reply(412, base, b"changed")
            return True
        if method == "HEAD":
            self.reply(200, base, declared=len(data))
            return True
        return self.body(data, base, headers, fault)

    def endless(self, fault):
        kind, _, url = fault.partition(":")
        status = {"endless": 200, "endless-error": 500, "endless-redirect": 302}.get(kind) or int(kind.rpartition("-")[2])
        location = f"Location: {url}\r\n" if url else ""
        self.wfile.write(f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n{location}\r\n".encode())
        slow = status == 302  # or the test's machine would have nothing else to do
        while True:
            self.wfile.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            time.sleep(0.05 if slow else 0.001)

    def list_page(self, fault):
        global pages
        pages += 1
        key = "" if fault == "list-empty" else f"<Contents><Key>t/k{pages}</Key><Size>1</Size></Contents>"
        token = {"list-circle": "again", "list-two": "AB"[pages % 2], "list-empty": f"t{pages}"}[fault]
        self.reply(200, {}, ("<?xml version='1.0'?><ListBucketResult><IsTruncated>true</IsTruncated>"
                             f"<NextContinuationToken>{token}</NextContinuationToken>{key}</ListBucketResult>").encode())

    def body(self, data, base, headers, fault):
        if fault == "gzip":
            self.reply(200, {**base, "Content-Encoding": "gzip"}, gzip.compress(data))
            return True
        if fault == "bigheader":
            base["X-Big"] = "x" * (1 << 20)
        status, body = 200, data
        m = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        if m and fault != "norange":
            first, last = int(m[1]), min(int(m[2] or len(data) - 1), len(data) - 1)
            if first >= len(data):
                self.reply(416, {**base, "Content-Range": f"bytes */{len(data)}"})
                return True
            if fault == "wrongrange":
                first, last = (first + 7, last + 7) if last + 7 < len(data) else (max(first - 7, 0), last - 7)
            if fault == "short":
                last = first + (last - first) // 2
            if fault == "long":
                last = min(last + 1000, len(data) - 1)
            status, body = 206, data[first:last + 1]
            base["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            if fault == "norangeheader":
                del base["Content-Range"]
        elif fault == "short":
            body = data[:len(data) // 2]
        if fault == "garbage":
            body = bytes(b ^ 0xff for b in body)
        if fault == "drip":
            self.reply(status, base, b"", declared=len(body))
            for b in body:
                self.wfile.write(bytes([b]))
                time.sleep(0.05)
            return True
        if fault == "trickle-once":
            self.reply(status, base, body[:1], declared=len(body))
            return False
        if fault in ("reset", "truncate", "stall"):
            self.reply(status, base, body[:len(body) // 2], declared=len(body))
            self.wfile.flush()
            if fault == "stall":
                time.sleep(3600)
            if fault == "reset":
                time.sleep(0.1)  # let the half arrive: a reset discards what the peer has not read
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close() if fault == "reset" else self.connection.shutdown(socket.SHUT_RDWR)
            return False
        self.reply(status, base, body)
        return True


class Threaded(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


Threaded(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
