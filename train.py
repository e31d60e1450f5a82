"""Train an experiment.

python train.py experiment=tryon_synthetic
python train.py experiment=tryon_synthetic debug=tiny
python train.py -m experiment=tryon_synthetic leffa_loss.temperature=0.5,1,2,5
leffa_loss.weight=0.01,0.1
"""

from leffa.run.program import program, train_job

if __name__ == "__main__":
    program("train", train_job)
