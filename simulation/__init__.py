"""A whole federation on one machine: demo data, baselines, evaluation, audit and benchmarks."""
