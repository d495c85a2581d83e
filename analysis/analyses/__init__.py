"""The analyses, one module each: what is computed of a run, in which tables, and in which figure it is shown."""
