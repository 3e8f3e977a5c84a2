"""The lab's Python core: tables, what the kernel tells, and how results are written."""
