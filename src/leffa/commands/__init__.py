"""The commands of `leffa`, where `leffa.cli` would be too long with them."""
