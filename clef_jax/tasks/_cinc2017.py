"""Caveats of the tasks on the CinC Challenge 2017."""

CAVEATS = (
    "The identities of the patients were not published. Splits are by recording, so a patient may "
    "be in several splits, and intervals treat every recording as a different patient.",
    "The label describes the whole recording of 9 to 61 seconds; a single window may not show it.",
)
