"""Damaged and foreign files: ``python -m fuzz --mutations 100000`` (with tests/ on PYTHONPATH; ``make fuzz``)."""
