"""Options that several benchmarks share."""

from __future__ import annotations

import argparse


def make_parser(quick: str) -> argparse.ArgumentParser:
    """A parser whose help tells defaults, with `--quick`; `quick` says what that measures."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{quick}; its result is kept beside the full one")
    return parser


def parse_numbers(text: str) -> list[int]:
    """Numbers separated by commas."""
    return [int(part) for part in text.split(",")]
