"""The parts of the boards: queries, links, variables, panels."""
