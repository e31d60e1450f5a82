"""The commands of `leffa`."""
