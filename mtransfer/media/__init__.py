"""Pixels in, pixels out: pictures, clips and films."""
