"""What the boards are made of: queries, links, variables, panels."""
