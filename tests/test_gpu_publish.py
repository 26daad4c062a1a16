"""gpu.json -> docs: what a record says, in full and in parts, and that nothing else is published."""

import copy
import json
import shutil

import pytest

from tests.support import warm
from tests.support.environment import ROOT, clean_environment
from tools.docs import tables as docs_tables
from tools.gpu import measured as measuring
from tools.gpu import plan, roofline
from tools.gpu import tables as gpu_tables
from tools.gpu.measured import measured

PAGES = ("README.md", "docs/cuda.md")


def times():
    """As kernels.cu would print them: every kernel at one and a half times its bound."""
    gpu = roofline.Gpu("NVIDIA H100", 132, 1.98, 5.0)
    kernels = [
        {
            "call": work.call,
            "kernel": work.kernel,
            "blocks": work.blocks,
            "microseconds": 1.5 * max(roofline.bound(work, gpu)[0] / work.launches, 2.0),
        }
        for work in roofline.works()
        for _ in range(work.launches)
    ]
    return {
        "device": {"device": gpu.name, "multiprocessors": 132, "clock_khz": 1980000},
        "ceilings": [
            {"ceiling": "empty kernel", "bytes": 0, "microseconds": 2.0},
            {"ceiling": "copy", "bytes": 6 * 10**9, "microseconds": 2000.0},
            {"ceiling": "read from L2", "bytes": 5 * 10**8, "microseconds": 100.0},
        ],
        "calls": [{"call": "pair_loss", "pairs": 3830, "microseconds": 90.0}],
        "kernels": kernels,
    }


def run_of(kernel, threads):
    return {
        "seed": 456,
        "kernel": kernel,
        "threads": threads,
        "device_name": f"{kernel} | device",
        "grok_epoch": 3960,
        "seconds": 8.1,
        "epochs_per_second": 500.0,
    }


@pytest.fixture
def record():
    """A made-up record in which every part is done."""
    parts = [
        {"name": part.name, "state": "done", "limit": part.limit, "seconds": 3.0, "reason": None}
        for part in plan.PARTS
    ]
    clean = {"errors": 0, "planted_fault_reported": True}
    results = {
        "machine": {
            "python": "3.12.3",
            "cores": 16,
            "processor": "A Processor",
            "git_commit": None,
            "tools": {"nvcc": "Cuda compilation tools, release 13.0, V13.0.88"},
            "nvidia_smi": {
                "asked": ["name", "driver_version", "clocks.max.sm"],
                "answer": "NVIDIA H100, 580.1, 1980 MHz",
            },
            "torch": {"version": "2.11.0", "devices": [{"name": "NVIDIA H100"}]},
        },
        "gpu_tests": {"tests": 21, "passed": 21},
        **dict.fromkeys(gpu_tables.SANITIZERS, clean),
        "kernel_times": times(),
        "epochs": {
            "milliseconds": {"kernel": 1.0, "eager": 4.0, "eager, CUDA graph": 2.0},
            "matrix_product_tflops": 51.2,
        },
        "compiled_epochs": {
            "milliseconds": {"kernel": 2.0, "compiled": 5.0, "compiled, CUDA graph": 3.0}
        },
        "gpu_run": run_of("cuda", 16),
        "cpu_run": run_of("avx512", 16),
        "counters": {"kernels": []},
    }
    return {
        "schema_version": 1,
        "date": "2026-12-01T12:00:00+00:00",
        "seconds": 222.0,
        "sources_sha256": "0" * 64,
        "parts": parts,
        "results": results,
    }


# --- kernels beside their roofline ------------------------------------------------------------


def test_every_kernel_stands_beside_the_bound_of_the_card_that_was_measured():
    rows = measured({"kernel_times": times()})
    assert len(rows) == len(roofline.works())
    assert all(row["ratio"] == pytest.approx(1.5) and row["reason"] == "" for row in rows)
    product = next(row for row in rows if row["kernel"] == "`logits_of_pairs`")
    gpu = roofline.Gpu("NVIDIA H100", 132, 1.98, 5.0)
    assert product["bound_microseconds"] == roofline.bound(roofline.logits("", 12769), gpu)[0]
    four = next(row for row in rows if row["kernel"].startswith("`table_gradient`"))
    assert (four["bound_microseconds"], four["bound_by"]) == (8.0, "launching")


def test_above_twice_its_bound_a_kernel_has_the_reason_that_was_counted():
    slow = times()
    for kernel in slow["kernels"]:
        kernel["microseconds"] *= 2
    counted = {
        "kernel": "logits_of_pairs",
        "blocks": 400,
        "arithmetic": 30.4,
        "L1": 71.0,
        "L2": None,
    }
    rows = measured({"kernel_times": slow, "counters": {"kernels": [counted]}})
    reasons = {(row["kernel"], row["problem"]): row["reason"] for row in rows}
    product = reasons["`logits_of_pairs`", "12769 pairs"]
    assert product == "of their peaks: arithmetic 30 %, L1 71 %"
    assert reasons["`group_pairs`", "3830 pairs"] == (
        "no counters; 226 blocks on 132 multiprocessors"
    )
    assert all(row["ratio"] == pytest.approx(3.0) for row in rows)


def test_a_clock_that_cuda_does_not_tell_is_nvidia_smis():
    silent = times()
    silent["device"]["clock_khz"] = 0
    smi = {"asked": ["name", "clocks.max.sm"], "answer": "NVIDIA H100, 1980 MHz"}
    told = measured({"kernel_times": silent, "machine": {"nvidia_smi": smi}})
    assert told == measured({"kernel_times": times()})


@pytest.mark.parametrize("left", [{}, {"kernel_times": None}, {"kernel_times": {"device": None}}])
def test_without_times_there_is_no_roofline(left):
    assert measured(left) == []


# --- tables -----------------------------------------------------------------------------------


def test_the_readme_says_what_ran_where_and_how_fast(record):
    record["results"]["roofline"] = {"kernels": measured(record["results"])}
    text = gpu_tables.summary(record)
    assert text.startswith("**Run on NVIDIA H100.**")
    assert "- First use against plain PyTorch and float64: done." in text
    assert "`tests/test_cuda_gpu.py`: done (21 of 21 passed)." in text
    assert (
        f"{', '.join(gpu_tables.SANITIZERS)}: nothing found; a planted fault is reported." in text
    )
    for row in (
        "| kernel | 1.000 | 1.00x |",
        "| eager | 4.000 | 4.00x |",
        "| eager, CUDA graph | 2.000 | 2.00x |",
        "| kernel, again beside these | 2.000 | 1.00x |",
        "| compiled | 5.000 | 2.50x |",
        "| cuda \\| device, kernel cuda | 3,960 | 8.1 | 500 |",
        "| avx512 \\| device, kernel avx512, 16 threads | 3,960 | 8.1 | 500 |",
    ):
        assert f"{row}\n" in text
    assert f"Within twice their bound: {len(roofline.works())} of" in text
    assert "driver 580.1, Cuda compilation tools, release 13.0" in text


def test_the_kernels_of_an_epoch_are_added_up(record):
    record["results"]["roofline"] = {
        "kernels": [
            {"call": call, "microseconds": time}
            for call, time in (("pair_loss", 100.0), ("evaluate the rest", 50.0), ("other", 7.0))
        ]
    }
    assert "| of which the kernel's own launches | 0.150 | 0.15x |\n" in gpu_tables.epochs(record)
    record["results"]["roofline"] = None
    assert "launches" not in gpu_tables.epochs(record)


def test_ceilings_are_rates(record):
    assert gpu_tables.ceilings(record) == (
        "Ceilings measured there: empty kernel 2.0 us, copy 3.00 TB/s, read from L2 5.00 TB/s, "
        "float32 matrix product 51.2 TFLOP/s."
    )


def test_a_part_that_is_not_done_is_named_with_its_reason(record):
    endings = {"racecheck": ("timeout", "stopped | at <its> limit\n"), "epochs": ("failed", "no")}
    for part in record["parts"]:
        if part["name"] in endings:
            part["state"], part["reason"] = endings[part["name"]]
    record["results"]["epochs"] = None
    text = gpu_tables.report(record)
    assert "racecheck: timeout (stopped \\| at &lt;its> limit)." in text
    assert "| epochs | failed (no) |  |" in text


def test_a_sanitizer_that_sees_no_fault_at_all_is_not_called_clean(record):
    record["results"]["memcheck"] = {"errors": 0, "planted_fault_reported": False}
    assert "memcheck: nothing found; a planted fault is not reported either." in (
        gpu_tables.proven(record)
    )


@pytest.mark.parametrize("show", [gpu_tables.summary, gpu_tables.statement])
def test_with_no_record_the_docs_say_that_no_gpu_has_run_it(show):
    assert show(None).startswith("**No GPU has run it yet**")


# --- publishing -------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    """A copy of what publishing reads and writes."""
    folder = tmp_path / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "wheels", "gpu.json", "gpu.md")
    for name in ("csrc", "grokking", "tools", "docs", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for path in (*ROOT.glob("*.py"), *ROOT.glob("*.md")):
        shutil.copy(path, folder)
    python(folder, "-m", "tools.docs.tables")  # as if there were no record yet
    return folder


def python(tree, *arguments):
    env = clean_environment(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1")
    return warm.python(*arguments, cwd=tree, env=env)


def publish(tree, record):
    path = tree.parent / "gpu.json"
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    return python(tree, "-m", "tools.gpu.publish", path)


def files(tree):
    return {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def test_a_record_is_published_and_taken_back_without_a_trace(tree, record):
    before = files(tree)
    done = publish(tree, record)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "updated: gpu.json, gpu.md, README.md, cuda.md\n"
    for name in PAGES:
        assert "No GPU has run it yet" not in (tree / name).read_text(encoding="utf-8")
        assert "NVIDIA H100" in (tree / name).read_text(encoding="utf-8")
    assert "| kernel | 1.000 | 1.00x |" in (tree / "docs/results/gpu.md").read_text(
        encoding="utf-8"
    )
    assert python(tree, "-m", "tools.docs.tables", "--check").returncode == 0
    published = files(tree)
    assert publish(tree, record).stdout == "updated: gpu.json, gpu.md\n"
    assert files(tree) == published
    for name in ("gpu.json", "gpu.md"):
        (tree / "docs" / "results" / name).unlink()
    assert python(tree, "-m", "tools.docs.tables").returncode == 0
    assert files(tree) == before


def test_what_others_write_into_a_reason_cannot_leave_its_table(tree, record):
    record["parts"][3] |= {"state": "failed", "reason": "| <!-- end of table -->\n# Heading `x"}
    assert publish(tree, record).returncode == 0
    once = files(tree)
    assert python(tree, "-m", "tools.docs.tables", "--check").returncode == 0
    assert once == files(tree)
    for name in PAGES:
        assert "\n# Heading" not in (tree / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("lost", [part.name for part in plan.PARTS])
@pytest.mark.parametrize("state", ["missing", "failed", "timeout"])
def test_a_record_that_lacks_one_part_still_makes_every_table(record, lost, state):
    part = next(part for part in record["parts"] if part["name"] == lost)
    part |= {"state": state, "reason": "on purpose"}
    record["results"][lost] = None
    record["results"]["roofline"] = {"kernels": measured(record["results"])}
    for show in (gpu_tables.summary, gpu_tables.statement, gpu_tables.measurements):
        assert show(copy.deepcopy(record)).endswith("\n")
    assert "on purpose" in gpu_tables.report(record) or lost == "report"


def without_gpu(record):
    record["parts"][0] |= {"state": "missing", "reason": "no GPU: none"}
    record["results"] = {"machine": record["results"]["machine"]}
    return record


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: "nonsense", "not valid JSON"),
        (lambda r: json.dumps(r).replace("222.0", "NaN"), "NaN"),
        (lambda r: {**r, "schema_version": 0}, "'schema_version' is 0, expected 1"),
        (lambda r: {**r, "parts": [{"name": "machine"}]}, "'parts' are not"),
        (lambda r: {**r, "parts": {}}, "'parts' are not"),
        (lambda r: {**r, "results": []}, "'results' or 'date' is missing"),
        (without_gpu, "nothing ran on a GPU (no GPU: none)"),
        (lambda r: {**r, "results": {**r["results"], "epochs": {"milliseconds": 7}}}, "results"),
        (lambda r: {**r, "results": {**r["results"], "gpu_run": {"kernel": "cuda"}}}, "results"),
    ],
)
def test_what_is_no_record_of_a_gpu_is_one_line_and_changes_nothing(tree, record, change, words):
    before = files(tree)
    done = publish(tree, change(record))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert words in done.stderr
    assert files(tree) == before


def test_the_pages_of_this_tree_hold_the_tables(record):
    for name, tables in (
        ("README.md", {"gpu"}),
        ("docs/cuda.md", {"gpu_statement", "gpu_measurements"}),
    ):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert tables <= {match[1] for match in docs_tables.MARKED.findall(text)}
    assert measuring.AIM == 2.0  # which gpu_tables.near_bound speaks of
