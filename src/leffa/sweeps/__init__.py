"""Many runs of one experiment: which are done, which failed, and how they compare."""
