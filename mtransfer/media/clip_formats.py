"""Files that are taken for clips by their name."""

CLIP_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".3gp"),
    *(".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".ogv", ".gif", ".apng"),
)
