"""Train an experiment.

python train.py experiment=tryon_synthetic
python train.py experiment=tryon_synthetic debug=tiny
python train.py -m experiment=tryon_synthetic leffa_loss.temperature=0.5,1,2,5
leffa_loss.weight=0.01,0.1
"""

from leffa.io.terminal import command_line

if __name__ == "__main__":
    with command_line("resume=auto continues from the last checkpoint"):
        from leffa.run.program import program, train_job

        program("train", train_job)
