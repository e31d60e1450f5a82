"""What `--help` of the two programs shows, on one screen; Hydra's own lists every key."""

from leffa.conf_folder import CONF

_TRAIN = """\
Train an experiment.

usage: python train.py experiment=NAME [GROUP=CHOICE ...] [KEY=VALUE ...]

  python train.py experiment=tryon_synthetic                    needs no data and no GPU
  python train.py experiment=tryon_synthetic debug=tiny         a few steps, to see that it runs
  python train.py experiment=virtual_tryon_512 data.root=DIR hardware=gpu_80gb trainer.devices=8
  python train.py -m experiment=NAME sweep=common paths.output_dir=DIR KEY=VALUE,VALUE   a sweep

often given: paths.output_dir=DIR  resume=auto  start_from=WEIGHTS  trainer.max_steps=N
every key:   python train.py experiment=NAME --cfg job; conf/train.yaml says what it means
"""
_EVALUATE = """\
Generate the images of a dataset with a trained model, and score them.

usage: python evaluate.py dataset=NAME ckpt=FILE_OR_FOLDER [GROUP=CHOICE ...] [KEY=VALUE ...]

  python evaluate.py dataset=synthetic_tryon ckpt=tryon_baseline
  python evaluate.py dataset=vitonhd_paired dataset.root=DIR ckpt=RUN hardware=gpu_80gb devices=8

often given: protocol=NAME  limit=N  sampler.steps=N  batch_size=N  paths.output_dir=DIR
every key:   python evaluate.py dataset=NAME ckpt=X --cfg job; conf/evaluate.yaml says what it means
"""
_PROGRAMS = {
    "train": (
        _TRAIN,
        *("experiment", "data", "model", "backbone", "leffa_loss", "attention_loss", "objective"),
        *("curriculum", "sampler", "hardware", "trainer", "callbacks", "logger", "sweep", "debug"),
    ),
    "evaluate": (_EVALUATE, "dataset", "protocol", "sampler", "hardware"),
}


def usage(program: str) -> str:
    """The help of `train` or `evaluate`: how it is called, and the choices of its groups."""
    text, *groups = _PROGRAMS[program]
    choices = (
        f"  {group}: {' '.join(sorted(path.stem for path in (CONF / group).glob('*.yaml')))}"
        for group in groups
    )
    return "\n".join([text, "Groups, each a folder of conf/, and their choices:", "", *choices])
