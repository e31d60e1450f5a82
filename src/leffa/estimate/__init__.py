"""What a training needs before it is started: memory by part, arithmetic, steps, hours.

bases.py      the shapes of Stable Diffusion, so that nothing need be downloaded
count.py      one step of the real network on tensors without values
plan.py       from the count to a stage's memory on a device, and to what fits
report.py     the table that `leffa estimate` prints
"""
