"""The report: one summary in, one self-contained HTML file out."""
