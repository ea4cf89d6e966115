"""PhysioNet/CinC Challenge 2017: 8,528 single-lead ECGs of a hand-held recorder, with rhythms."""
