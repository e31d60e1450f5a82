"""Reading and writing files, and terminal output. Imports no other part of leffa."""
