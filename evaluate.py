"""Generate the images of a dataset with a trained model, and score them.

python evaluate.py dataset=synthetic_tryon ckpt=outputs/tryon_synthetic/2026-01-01_00-00-00
"""

from leffa.io.terminal import command_line

if __name__ == "__main__":
    with command_line("rerun the same command to resume"):
        from leffa.run.program import evaluation_job, program

        program("evaluate", evaluation_job)
