"""Checks a data folder before training.

`examine.examine` compares a folder with the spec of its dataset (`data.catalog`) and opens every
file; `quick.quick_check` is the part that is quick enough to run before each training.

Nothing is imported here: worker processes need `contents` alone, and no torch.
"""
