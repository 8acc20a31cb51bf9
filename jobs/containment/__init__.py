"""What a child may do to the machine, set by itself and without root before it reads anything of its job."""
