"""Frame rates that films can be written at, in frames a second."""

LEAST_FPS, MOST_FPS = 0.01, 1000.0  # below, a GIF has no number for how long a frame is shown
MOST_FRAMES = 300  # of an animation
