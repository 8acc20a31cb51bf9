"""Training: the loop, and the data, solvers, schedules and snapshots that it uses."""
