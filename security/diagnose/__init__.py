"""From "it does not work" to the cause: collect, compare with the tables, probe, and rank what is wrong."""
