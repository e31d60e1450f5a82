"""Generate the images of a data set with a trained model, and score them.

python evaluate.py dataset=synthetic_tryon ckpt=outputs/tryon_synthetic/2026-01-01_00-00-00
"""

from leffa.run import evaluate
from leffa.run.program import program

if __name__ == "__main__":
    program("evaluate", evaluate)
