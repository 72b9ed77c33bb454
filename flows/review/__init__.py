"""A person's word on each asset of a batch: the form, who serves it, what is kept of it."""
