"""How files are written and read, and what the terminal shows. Imports nothing of ours."""
