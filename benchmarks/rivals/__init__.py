"""The contenders of the comparisons, each run in a process, and if need be an environment, of its own."""
