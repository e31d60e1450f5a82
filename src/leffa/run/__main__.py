"""`python -m leffa.run train KEY=VALUE ...` is train.py, `evaluate` evaluate.py: for those who have
the package and not the repository."""

import sys

from leffa.io.terminal import command_line

PROGRAMS = ("train", "evaluate")


def main() -> None:
    """Run the program that the first argument names on the rest of them."""
    if len(sys.argv) < 2 or sys.argv[1] not in PROGRAMS:
        sys.exit(f"usage: python -m leffa.run {{{','.join(PROGRAMS)}}} KEY=VALUE ...")
    name = sys.argv.pop(1)
    with command_line("rerun the same command to resume"):
        from leffa.run.program import evaluation_job, program, train_job

        program(name, train_job if name == "train" else evaluation_job)


if __name__ == "__main__":
    main()
