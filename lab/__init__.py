"""The lab's Python core: tables, the kernel's state, and output formats."""
