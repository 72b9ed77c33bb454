"""`python -m tests.benchmarks [name ...]`: figures and ratios to read, no verdicts."""

import importlib
import sys
import time

NAMES = (
    *("command_line", "frechet", "inception", "ingest", "training_speed", "checkpoint"),
    *("flow_overhead", "corruptions", "million", "minting", "watermark", "fleet", "databases"),
)


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; return the exit code."""
    if unknown := [name for name in names if name not in NAMES]:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in names or NAMES:
        bench = importlib.import_module(f"tests.benchmarks.bench_{name}")
        print(f"\n{name}: {(bench.__doc__ or '').splitlines()[0]}", flush=True)
        started = time.monotonic()
        bench.main()
        print(f"  ({time.monotonic() - started:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
