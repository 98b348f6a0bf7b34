"""The site that all servers serve."""

import gzip
import os
import random
import subprocess

KIB, MIB = 1 << 10, 1 << 20
MANY = 10000
SIZES = {"/1k.bin": KIB, "/10k.bin": 10 * KIB, "/100k.bin": 100 * KIB, "/20m.bin": 20 * MIB, "/tree/a/b/1k.bin": KIB}
TEXT = "/text.txt"              # compressed while it is sent
PRECOMPRESSED = "/pre/text.txt"  # has a .gz beside it


def many(number):
    return f"/many/{number:05d}.bin"


def text():
    """50 KiB that compress like prose: words of a fixed list, the same in every run."""
    dice, words, out = random.Random(6), [], ""
    for _ in range(2000):
        words.append("".join(dice.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(dice.randint(2, 10))))
    while len(out) < 50 * KIB:
        out += " ".join(dice.choice(words) for _ in range(12)) + ".\n"
    return out[:50 * KIB].encode()


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def make(root, files):
    """Writes the site into the directory `root`, with so many `files` of 1 KiB to pick from."""
    for name, size in SIZES.items():
        write(root + name, os.urandom(size))
    # Something that every request below it has to read and merge.
    write(root + "/tree/a/.htaccess", b"Options FollowSymLinks\n")
    prose = text()
    write(root + TEXT, prose)
    write(root + PRECOMPRESSED, prose)
    write(root + PRECOMPRESSED + ".gz", gzip.compress(prose, 6))
    for number in range(files):
        write(root + many(number), os.urandom(KIB))


def make_certificate(directory):
    """cert.pem and key.pem (ECDSA P-256) for localhost and 127.0.0.1. @return None, or why there are none"""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
               "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
               "-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip()[-300:]
