"""Files from somebody else: damaged, malicious, absurd."""

import io
import json
import os
import pickle
import random
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import torch

from grokking.commands.analyze_sweep import main as analyze
from grokking.commands.plot_sweep import main as plot
from grokking.commands.surfaces import main as visualize
from grokking.files.checkpoint import load_checkpoint
from grokking.system.errors import UserError
from tools.reliability.calls import called
from tools.reliability.forked import Fork, plain, train
from tools.reliability.outcome import Outcome

MEMORY = 1 << 30  # bytes that reading one file may add
SECONDS = 60  # of the processor that it may take
LARGE = 40_000_000  # bytes of a file from which on it may take both in proportion to its size


# ---------------------------------------------------------------- checkpoints


def damage(count: int, chance: random.Random, folder: Path) -> Outcome:
    """Flipped bits, cut, swapped, repeated and zeroed pieces: refused, or read back unchanged."""
    result = Outcome()
    assert Fork(lambda: train(folder / "run"), folder / "stderr").wait().code == 0
    good = (folder / "run" / "checkpoint_latest.pt").read_bytes()
    content = plain(load_checkpoint(folder / "run" / "checkpoint_latest.pt"))
    path = folder / "damaged.pt"
    for _ in range(count):
        how, bad = _damaged(good, chance)
        path.write_bytes(bad)
        result.tried += 1
        try:
            read = plain(load_checkpoint(path))
        except UserError:
            continue
        if read != content:
            result.broken.append(f"{how}: loaded with other content")
    return result


def _damaged(good: bytes, chance: random.Random) -> tuple[str, bytes]:
    bad, size = bytearray(good), len(good)
    a, b, length = chance.randrange(size), chance.randrange(size), chance.randint(1, 4096)
    how = chance.choice(("flip", "flips", "cut", "swap", "zero", "drop"))
    if how == "flip":
        bad[a] ^= 1 << chance.randrange(8)
    elif how == "flips":
        for _ in range(chance.randint(2, 64)):
            bad[chance.randrange(size)] ^= 1 << chance.randrange(8)
    elif how == "cut":
        del bad[a:]
    elif how == "swap":
        bad[a : a + length], bad[b : b + length] = bad[b : b + length], bad[a : a + length]
    elif how == "zero":
        bad[a : a + length] = bytes(len(bad[a : a + length]))
    else:
        del bad[a : a + length]
    return f"{how} at {a}, {b}, {length}", bytes(bad)


class _Calls:
    """Pickles to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def crafted(count: int, chance: random.Random, folder: Path) -> Outcome:
    """Checkpoints that would run code if anything unpickled them freely."""
    result, trace = Outcome(), folder / "trace"
    folder.mkdir(parents=True, exist_ok=True)
    python = f"open({str(trace)!r}, 'w').close()"
    payloads = [
        _Calls(os.system, f"touch {trace}"),
        _Calls(os.mkdir, str(trace)),
        _Calls(exec, python),
        _Calls(eval, f"open({str(trace)!r}, 'w')"),
        _Calls(open, str(trace), "w"),
    ]
    forms: list[Callable[[Any], bytes]] = [
        lambda p: _saved({"schema_version": 1, "sha256": "0" * 64, "model": p}),
        lambda p: _saved(p),
        lambda p: pickle.dumps({"schema_version": 1, "sha256": p}),
        lambda p: _saved({"model": {"W_E": torch.zeros(2)}, "kept": [p], "sha256": ""}),
    ]
    path = folder / "crafted.pt"
    for number in range(count):
        payload, form = payloads[number % 5], forms[number // 5 % 4]
        path.write_bytes(form(payload))
        result.tried += 1
        try:
            load_checkpoint(path)
            result.broken.append(f"{payload.call[0].__name__}: accepted")
        except UserError:
            pass
        if trace.exists():
            result.broken.append(f"{payload.call[0].__name__}: executed")
            shutil.rmtree(trace) if trace.is_dir() else trace.unlink()
    return result


def _saved(record: Any) -> bytes:
    file = io.BytesIO()
    torch.save(record, file)
    return file.getvalue()


# ---------------------------------------------------------------- JSON


_SURFACE = "activation_surface_neuron_0.json"


def any_json(count: int, chance: random.Random, folder: Path) -> Outcome:
    """Absurd and mutated JSON for every script: a picture, or one clear line and exit code 2."""
    result = Outcome()
    run = folder / "sweep" / "wd1.0_seed42"
    assert Fork(lambda: train(run), folder / "stderr").wait().code == 0
    names = [_SURFACE, "config.json", "grokking.json"]
    names += ["loss_history.json", "accuracy_history.json"]
    good = {name: (run / name).read_bytes() for name in names}
    record = folder / "broken"
    batches = [
        [(name, _absurd(good[name], chance)) for name in chance.choices(names, k=size)]
        for size in _sizes(count - count // 1_000)
    ]
    large = islice(cycle(_LARGE_FILES), count // 1_000)
    for batch in chain(batches, ([(name, text().encode())] for name, text in large)):

        def body(batch: list[tuple[str, bytes]] = batch) -> int:
            _limit(max(len(text) for _, text in batch))
            with record.open("w") as lines:
                for name, text in batch:
                    lines.writelines(f"{fault}\n" for fault in _feed(run, name, text, good))
            return 0

        ended = Fork(body, folder / "stderr").wait()
        result.tried += len(batch)
        result.broken += record.read_text().splitlines()
        if ended.code != 0:
            told = f"{batch[0][0]} {batch[0][1][:80]!r} and {len(batch) - 1} more"
            result.broken.append(f"{told}: ended with {ended.code} {ended.errors[-300:]}")
    return result


def _sizes(count: int) -> list[int]:
    """Of batches: a fork each, so that a crash or a limit ends a hundred files at most."""
    return [min(100, count - start) for start in range(0, count, 100)]


def _surface(p: int, numbers: str) -> str:
    rows = ",".join([f"[{','.join(islice(cycle(numbers.split()), p))}]"] * p)
    return f'{{"neuron_index": 0, "modulus": {p}, "surface": [{rows}]}}'


def _history(epochs: int) -> str:
    zeros = "[" + ",".join("0" * epochs) + "]"
    listed = ",".join(map(str, range(epochs)))
    return f'{{"epochs": [{listed}], "training_losses": {zeros}, "validation_losses": {zeros}}}'


# Near what is read whatever is in it, and beyond, with reason and without.
_LARGE_FILES: list[tuple[str, Callable[[], str]]] = [
    (_SURFACE, lambda: _surface(1999, "0.0123456789")),
    (_SURFACE, lambda: _surface(4096, "0 1 2")),
    (_SURFACE, lambda: _surface(1999, "0.0123456789").replace("1999", "3", 1)),
    (_SURFACE, lambda: f'{{"modulus": 4096, "surface": [{"[]," * 13_000_000}0]}}'),
    ("config.json", lambda: f'{{"config": [{"9e9," * 9_900_000}0]}}'),
    ("loss_history.json", lambda: _history(3_000_000)),
    ("loss_history.json", lambda: _history(5_000_000)),
]


def _limit(size: int) -> None:
    """Memory that a file of so many bytes may add."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = used + _in_proportion(MEMORY, size)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _in_proportion(limit: int, size: int) -> int:
    return limit * max(size, LARGE) // LARGE


def _feed(run: Path, name: str, text: bytes, good: dict[str, bytes]) -> Iterator[str]:
    """Faults found when the scripts read `text` in the place of a good file."""
    (run / name).write_bytes(text)
    commands: list[tuple[Callable[[], int | None], Path]] = [(visualize, run / name)]
    if not name.startswith("activation"):
        commands = [(analyze, run.parent)]
        if name.endswith("history.json"):
            commands.append((plot, run.parent))
    for main, argument in commands:
        signal.setitimer(signal.ITIMER_PROF, _in_proportion(SECONDS, len(text)))
        done = called(main, argument)
        signal.setitimer(signal.ITIMER_PROF, 0)
        yield from (f"{name}: {fault}, for {text[:80]!r}" for fault in done.faults(0, 2))
    (run / name).write_bytes(good[name])


_VALUES = [
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "true", "false", "null", '""', "[]", "{}"),
    *("9" * 5000, "-1", "0", "1e-400", '"113"', "[[]]", "1.5", "2147483648", "9223372036854775808"),
    *('"\\u0000"', '"<script>"', '"\\ud800"', "[null]", "-0.0", "[" * 500 + "]" * 500),
]


def _absurd(good: bytes, chance: random.Random) -> bytes:
    kind = chance.randrange(12)
    record = json.loads(good)
    if kind == 0:
        depth = chance.choice((10, 1_000, 100_000))
        return b"[" * depth + b"]" * depth
    if kind == 1:
        return chance.choice((b"\xef\xbb\xbf" + good, good.decode().encode("utf-16")))
    if kind == 2:
        return good[: chance.randrange(len(good))]
    if kind == 3:
        return bytes(chance.randrange(256) for _ in range(chance.randrange(200)))
    if kind == 4:  # duplicate keys
        name = chance.choice(list(record))
        return good.replace(b"{", f'{{"{name}": {chance.choice(_VALUES)}, '.encode(), 1)
    if kind == 5:
        return chance.choice(_VALUES).encode()
    if kind == 6:
        bad = bytearray(good)
        for _ in range(chance.randint(1, 20)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        return bytes(bad)
    if kind == 7:
        record.pop(chance.choice(list(record)))
        return json.dumps(record).encode()
    # a value somewhere in the tree becomes another, or a list becomes ragged
    marker, places = "@here@", list(_places(record))
    holder, key = chance.choice(places)
    if kind == 8 and isinstance(holder, list):
        del holder[key]
        return json.dumps(record).encode()
    holder[key] = marker
    return json.dumps(record).replace(f'"{marker}"', chance.choice(_VALUES), 1).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
