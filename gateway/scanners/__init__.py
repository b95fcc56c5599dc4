"""Virus scanners, asked over their own protocols."""
