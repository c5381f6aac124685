"""The common corruptions of the robustness benchmarks, one file per family; their numbers are in `tables`."""
