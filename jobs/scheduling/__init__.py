"""What `jobs.scheduler` is made of, one duty a file."""
