"""The boards, one for each concern."""
