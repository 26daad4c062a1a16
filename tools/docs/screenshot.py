"""A page as a PNG for the docs.

    python -m tools.docs.screenshot PAGE.html OUT.png [--press LABEL] [--run SCRIPT] [--size WxH]

Needs Chromium, by way of the tests' own driver.
"""

import sys
from pathlib import Path

from grokking.commands.cli import Parser, run_main
from grokking.system.errors import UserError
from tests.support.browser import Chromium


def main() -> None:
    parser = Parser(prog="python -m tools.docs.screenshot", description="A page as a PNG.")
    parser.add_argument("page", type=Path)
    parser.add_argument("output", type=Path, metavar="OUT.png")
    parser.add_argument("--press", metavar="LABEL", help="click the button with this text first")
    parser.add_argument("--run", metavar="SCRIPT", help="a JavaScript expression to evaluate first")
    parser.add_argument(
        "--size", default="1280x800", help="window, in pixels (default: %(default)s)"
    )
    arguments = parser.parse_args()
    if not arguments.page.is_file():
        raise UserError(f"{arguments.page}: no such page")
    width, _, height = arguments.size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UserError(f"--size is {arguments.size!r}, expected WIDTHxHEIGHT in pixels")
    size = {"width": int(width), "height": int(height)}
    with Chromium() as chromium, chromium.open(arguments.page, **size) as page:
        if arguments.run:
            page.evaluate(arguments.run)
        if arguments.press:
            page.press(arguments.press)
        page.settle()
        arguments.output.write_bytes(page.screenshot())


if __name__ == "__main__":
    sys.exit(run_main(main))
