"""Checks a data folder before anything is trained on it.

`layouts.DATASETS` declares each data set: its folders, the names of its files, what they hold, its
lists and its official counts. `examine.examine` compares a folder with that declaration and opens
every file; `quick.quick_check` is the part that is quick enough to run before each training. A new
data set is a new entry in the table.

Nothing is imported here: worker processes need `look` alone, and no torch.
"""
