"""Tasks that other evaluation harnesses run, as tasks of hf_xlt: named HARNESS/TASK, their results like all others."""
