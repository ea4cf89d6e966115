"""What the tasks on the CinC Challenge 2017 share."""

CAVEATS = (
    "Who is who was not published: splits are by recording, a person may be in several, and "
    "intervals take every recording for a person of its own.",
    "The label is of the whole recording, 9 to 61 seconds; a window of it may not show it.",
)
