"""`python -m grokking export CHECKPOINT`: a model's weights for TransformerLens, safetensors or numpy."""

from collections.abc import Sequence
from pathlib import Path

from grokking.commands.cli import Parser
from grokking.config import Config
from grokking.files.interchange import (
    FORMATS,
    TRANSFORMER_LENS,
    recipe,
    transformer_lens_config,
    transformer_lens_weights,
)
from grokking.files.json_files import atomic_write, check_input, check_output


def main(arguments: Sequence[str] | None = None) -> int:
    """Export one checkpoint; UserError for one that is missing or damaged."""
    parser = Parser(
        prog="grokking export",
        description="Write a checkpoint's weights under the names that TransformerLens gives them, "
        "and print the Python that makes the model of them there.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT.pt", help="of a run's folder")
    parser.add_argument("--format", choices=FORMATS, default="tl", help="container [tl]")
    parser.add_argument("--output", type=Path, metavar="FILE", help="[beside the checkpoint]")
    options = parser.parse_args(arguments)
    container = FORMATS[options.format]
    check_input(options.checkpoint)
    output: Path = options.output or options.checkpoint.with_suffix(container.suffix)
    check_output(output, options.checkpoint)

    from grokking.files.checkpoint import load_checkpoint

    record = load_checkpoint(options.checkpoint)
    parameters = {name: weight.numpy() for name, weight in record["model"].items()}
    config = transformer_lens_config(parameters)
    settings = record["config"]
    note = {
        "config": config,
        "epoch": record["epoch"],
        "modulus": settings["modulus"],
        "task": settings.get("task", Config.task),
    }
    arrays = transformer_lens_weights(parameters)
    atomic_write(output, lambda file: container.write(file, arrays, note))
    print(f"{output}: {len(arrays)} tensors of epoch {record['epoch']:,}")
    for release in TRANSFORMER_LENS:
        print(f"\n{recipe(release, container, output, config)}")
    return 0
