"""Networks: the text that a person pastes, what it must return, and what its layers are called."""
