"""`leffa demo`: from no data to a report of trainings with and without the Leffa loss."""
